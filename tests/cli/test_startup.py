"""What help and a bad configuration may import: imports are what start-up costs."""

import json
import subprocess
import sys

import pytest

from pgcli.training.backend import plugins

# whatever pgcli depends on, but for Typer, and what is slow of Python's own
HEAVY = (
    *("jax", "jaxlib", "flax", "optax", "numpy", "gymnasium", "safetensors"),
    *("pydantic", "rich", "ruamel", "click"),
    *("asyncio", "multiprocessing", "concurrent", "sqlite3", "unittest"),
)
PROGRAM = """
import json, sys
from pgcli.cli.main import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def modules_after(*words: str) -> tuple[int, set[str]]:
    """Exit code of a command in a new process, and the packages it imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    code, names = json.loads(done.stderr.splitlines()[-1])
    return code, {name.split(".")[0] for name in names}


@pytest.mark.parametrize(
    "words",
    ["--help", "train --help", "config show -h", "--version", "train --stepz 3"],
)
def test_help_imports_nothing_heavy(words: str) -> None:
    _, found = modules_after(*words.split())
    assert "typer" in found
    assert found.isdisjoint(HEAVY)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("train --set algo.clip_eps=-1", 2),
        ("train --resume auto", 2),
        ("train --name .x", 2),
        ("train --name tests --runs-dir .", 2),  # it is taken
        ("config show", 0),
    ],
)
def test_configuration_is_resolved_without_jax(words: str, code: int) -> None:
    got, found = modules_after(*words.split())
    assert got == code
    assert found.isdisjoint({"jax", "numpy", "gymnasium", "flax"})


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("train --env CartPol-v1", 2),
        ("train --env func:CartPol-v1", 2),
        ("train --accelerator gpu", 6),
    ],
)
def test_environment_and_accelerator_are_checked_without_jax(
    words: str, code: int
) -> None:
    """The ids of Gymnasium and of `func:`; GPUs, if JAX has no plugin for them."""
    if code == 6 and plugins.installed("gpu"):
        pytest.skip("a plugin for GPUs is installed")
    got, found = modules_after(*words.split())
    assert got == code
    assert found.isdisjoint({"jax", "flax"})


def test_import_pgcli_is_lazy() -> None:
    code = "import pgcli, sys; print(pgcli.__version__, 'jax' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[1] == "False"
