"""What every test runs under: set before JAX is imported, and inherited by children."""

import gc
import os
import shutil
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from jaxtyping import install_import_hook
from support.xla_flags import xla_flags

# Tests compile much and run little: without optimisation that is five times faster.
# Small programs are not worth splitting among threads. JAX 0.11 has another name than
# 0.10 for the option about fusion emitters, and 0.12 has none.
XLA_FLAGS = xla_flags(
    xla_force_host_platform_device_count=2,
    xla_backend_optimization_level=0,
    xla_cpu_use_fusion_emitters=False,
    xla_backend_extra_options="xla_cpu_disable_new_fusion_emitters",
    xla_cpu_parallel_codegen_split_count=1,
)
SETTINGS = {
    "XLA_FLAGS": XLA_FLAGS,
    "JAX_PLATFORMS": "cpu",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "PGCLI_CHECK_SHAPES": "1",
}
CACHE = "PGCLI_CACHE"
PROGRAMS = "JAX_COMPILATION_CACHE_DIR"

os.environ.update(SETTINGS)

# Some hundred processes import pgcli: compiled once, not by each.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Tracing makes many objects and leaves little garbage.
gc.set_threshold(50_000, 20, 100)

# Shapes in the signatures of the core are checked at every call, here and nowhere else.
install_import_hook(
    ["pgcli.algos", "pgcli.nn", "pgcli.rollout", "pgcli.arrays.exact_count"],
    "shape_checks.checked",
)

# Compilation makes deadlines meaningless; the same examples on every machine.
hypothesis.settings.register_profile(
    "pgcli", deadline=None, derandomize=True, database=None
)
hypothesis.settings.load_profile("pgcli")

# Programs that are traced while something is replaced are not for other tests, nor are
# theirs for this one.
_setattr, _undo = pytest.MonkeyPatch.setattr, pytest.MonkeyPatch.undo


def _set(patch: Any, *arguments: Any, **options: Any) -> None:
    from pgcli.arrays import shared as sharing  # it imports JAX

    if not hasattr(patch, "results"):
        patch.results, sharing._results = sharing._results, OrderedDict()
    _setattr(patch, *arguments, **options)


def _restore(patch: Any) -> None:
    _undo(patch)
    if hasattr(patch, "results"):
        from pgcli.arrays import shared as sharing

        sharing._results = patch.__dict__.pop("results")


pytest.MonkeyPatch.setattr = _set  # type: ignore[method-assign,assignment]
pytest.MonkeyPatch.undo = _restore  # type: ignore[method-assign]


def pytest_configure(config: pytest.Config) -> None:
    """One cache for the session, its workers and all that they start."""
    if not hasattr(config, "workerinput"):
        os.environ[CACHE] = tempfile.mkdtemp(prefix="pgcli-tests-")
        os.environ[PROGRAMS] = os.path.join(os.environ[CACHE], "xla")
        # no directory: tracing checks shapes, and tests replace what is traced
        Path(os.environ[CACHE], "programs").touch()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(CACHE), ignore_errors=True)


@pytest.fixture
def user_environ(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The environment of a user's shell, to run a command as a user runs it.

    Without the settings above, but still on the CPU, with a home that is empty.
    """
    home = str(tmp_path_factory.mktemp("home"))
    kept = {
        k: v for k, v in os.environ.items() if k not in {*SETTINGS, CACHE, PROGRAMS}
    }
    return {**kept, "JAX_PLATFORMS": "cpu", "HOME": home, "XDG_CACHE_HOME": home}
