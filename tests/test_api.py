"""The public Python API: `pgcli.configure`, `train`, `resume`, …"""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pgcli
from pgcli.config.errors import ConfigError
from pgcli.config.load import resolve
from pgcli.errors import UsageError

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
FUNCTIONS = [name for name in pgcli.__all__ if name != "__version__"]


def test_example_of_the_page_runs_as_written(tmp_path: Path) -> None:
    example = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert example is not None
    lines = [line for line in example[1].splitlines() if line]
    assert len(lines) == 10
    command = [sys.executable, "-c", example[1]]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    path, return_mean, action = done.stdout.split()
    assert path == str(tmp_path / "runs/first")
    assert float(return_mean) > 50  # 20 to 25 is a random policy
    assert action in ("0", "1")


def test_import_is_light() -> None:
    code = "import sys, pgcli; pgcli.__version__; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    heavy = {"jax", "numpy", "gymnasium", "pydantic", "ruamel", "typer", "rich"}
    assert heavy & set(done.stdout.split()) == set()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_documented_and_on_the_page(name: str) -> None:
    function = getattr(pgcli, name)
    assert inspect.getdoc(function)
    row = re.search(rf"^\| `{name}\(([^`]*)\)`", PAGE.read_text(), re.MULTILINE)
    assert row is not None
    known = inspect.signature(function).parameters
    for keyword in re.findall(r"(\w+)=", row[1]):
        assert keyword in known


def test_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        pgcli.trian  # noqa: B018


def test_configure_equals_the_command_line() -> None:
    ours = pgcli.configure(
        algo="a2c",
        env="Pendulum-v1",
        steps=5000,
        **{"optimizer.lr": 0.002, "network.hidden": (32, 16)},
    )
    theirs = resolve(
        file=None,
        flags={"algo.name": ("a2c", "--algo"), "env.id": ("Pendulum-v1", "--env")},
        sets=["steps=5000", "optimizer.lr=2e-3", "network.hidden=[32,16]"],
    )
    assert ours.config == theirs.config
    assert ours.preset == theirs.preset


def test_configure_without_arguments_is_the_default_of_train() -> None:
    assert pgcli.configure().config == resolve(file=None, flags={}, sets=[]).config


def test_configure_preset_can_be_left_out() -> None:
    assert pgcli.configure().preset == "ppo2/CartPole-v1"
    assert pgcli.configure(preset=False).preset is None


def test_configure_file_is_overridden_by_values(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("steps: 3000\nseed: 7\noptimizer: {lr: 0.01}\n")
    config = pgcli.configure(file=str(file), seed=8).config
    assert (config.steps, config.seed, config.optimizer.lr) == (3000, 8, 0.01)


def test_configure_takes_numpy_values() -> None:
    values = {"network.hidden": np.array([8, 4]), "optimizer.lr": np.float64(0.5)}
    config = pgcli.configure(steps=np.int64(100), **values).config
    assert config.steps == 100
    assert config.network.hidden == (8, 4)
    assert config.optimizer.lr == 0.5


def test_configure_reports_every_mistake_with_its_remedy() -> None:
    with pytest.raises(ConfigError) as caught:
        pgcli.configure(algo="ppo2", **{"algo.clip_epss": 0.2, "env.num_envs": 0})
    text = caught.value.render()
    assert "did you mean `algo.clip_eps`?" in text
    assert "`env.num_envs` must be an integer, at least 1, not 0" in text


def test_paths_may_be_text_or_paths(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    config = pgcli.configure(env="func:CartPole-v1")
    for runs_dir in (tmp_path, str(tmp_path)):
        with pytest.raises(UsageError, match="taken"):
            pgcli.train(config, runs_dir=runs_dir, name="taken")
        for run in (Path("none"), "none"):
            with pytest.raises(UsageError, match="there is no run 'none'"):
                pgcli.resume(run, runs_dir=runs_dir)
            with pytest.raises(UsageError, match="there is no run 'none'"):
                pgcli.evaluate(run, runs_dir=runs_dir)
