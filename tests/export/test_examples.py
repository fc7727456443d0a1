"""The examples of docs/export.md run as written, without pgcli and without JAX."""

import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from support.small_runs import resolved

from pgcli.export.export import FORMATS, export
from pgcli.training.run import train

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
WITHOUT_JAX, WITH_JAX = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def exported(format: str, folder: Path) -> None:
    asked = resolved("func:CartPole-v1", "steps=32", "eval.every=0")
    run = train(asked, runs_dir=folder, name="run")
    export(run["path"], format=format, out=folder / f"policy.{format}")


def output(python: str, code: str, folder: Path) -> str:
    command = [python, "-I", "-c", code]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_stablehlo_runs_with_jax_alone(tmp_path: Path) -> None:
    exported("stablehlo", tmp_path)
    code = f"{WITH_JAX}\nimport sys; assert 'pgcli' not in sys.modules"
    assert re.fullmatch(r"\[[01] [01] [01]\]\n", output(sys.executable, code, tmp_path))


@pytest.mark.slow
@pytest.mark.skipif(not FORMATS["onnx"].installed, reason="needs the extra `onnx`")
def test_onnx_runs_in_an_environment_without_jax(tmp_path: Path) -> None:
    exported("onnx", tmp_path)
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    install = [python, "-m", "pip", "install", "-q", "onnxruntime", "numpy"]
    subprocess.run(install, check=True)
    code = f"{WITHOUT_JAX}\nimport sys; assert 'jax' not in sys.modules"
    assert output(python, code, tmp_path) == "(3,) int32\n"
