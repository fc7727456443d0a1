"""Versions: tested ranges are those of the constraints, unknown options do no harm."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from support.xla_flags import xla_flags

from pgcli import versions

ROOT = Path(__file__).parents[1]
PINS = [
    line.partition(" ;")[0].split("==")
    for file in ("constraints.txt", "constraints-newest.txt")
    for line in (ROOT / file).read_text().splitlines()
    if "==" in line and not line.startswith("#")
]


def pretend(monkeypatch: pytest.MonkeyPatch, **installed: str) -> None:
    monkeypatch.setattr(versions, "installed", installed.get)


def test_tested_versions_are_those_that_the_constraints_pin() -> None:
    for name, (oldest, newest) in versions.TESTED.items():
        pinned = [version for pin, version in PINS if pin == name]
        if name == "python":
            continue
        assert min(map(versions._series, pinned)) == versions._series(oldest), name
        assert max(map(versions._series, pinned)) == versions._series(newest), name


def test_tested_pythons_begin_with_the_oldest_that_can_install() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={versions.TESTED['python'][0]}"


def test_what_runs_this_test_is_said_to_be_tested() -> None:
    assert versions.untested() == {}


def test_versions_outside_the_tested_range_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, python="3.15.0", jax="0.10.2", optax="0.3.1", numpy="2.5.0rc1")
    assert versions.untested() == {
        "python 3.15.0": " to ".join(versions.TESTED["python"]),
        "optax 0.3.1": "0.2",
    }


@pytest.mark.parametrize(
    ("jaxlib", "known"),
    [
        ("0.10.2", ["xla_backend_optimization_level", "xla_cpu_use_fusion_emitters"]),
        ("0.12.0.1", ["xla_backend_optimization_level"]),
        ("0.99.0", []),
        ("1.0.0.dev1", []),
    ],
)
def test_options_that_xla_may_not_know_are_left_out(
    monkeypatch: pytest.MonkeyPatch, jaxlib: str, known: list[str]
) -> None:
    pretend(monkeypatch, jaxlib=jaxlib)
    options = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": True}
    assert list(versions.compiler_options(**options)) == known
    flags = xla_flags(**options)
    assert [flag.strip("-").partition("=")[0] for flag in flags.split()] == known
    assert "=True" not in flags  # XLA writes it in lower case


def test_every_option_that_is_said_to_be_known_is_known_here(
    user_environ: Mapping[str, str],
) -> None:
    values: dict[str, bool | int | str] = {
        "xla_force_host_platform_device_count": 2,
        "xla_backend_optimization_level": 0,
        "xla_cpu_parallel_codegen_split_count": 1,
        "xla_cpu_use_fusion_emitters": False,
        "xla_backend_extra_options": "xla_cpu_disable_new_fusion_emitters",
        "xla_cpu_prefer_vector_width": 512,
    }
    assert values.keys() == versions.XLA_OPTIONS.keys()
    for_processes = "xla_force_host_platform_device_count", "xla_backend_extra_options"
    compiles = {k: v for k, v in values.items() if k not in for_processes}
    options = versions.compiler_options(**compiles)
    assert jax.jit(lambda x: x + 1, compiler_options=options)(jnp.ones(())) == 2
    code = "import jax; print(jax.device_count())"
    flags = xla_flags(**values)
    subprocess.run(
        [sys.executable, "-c", code],
        env={**user_environ, "XLA_FLAGS": flags},
        check=True,
        capture_output=True,
    )


def test_an_option_that_jax_does_not_have_is_left_out() -> None:
    versions.set_jax("jax_an_option_of_the_future", 1)
    before = jax.config.jax_log_compiles
    versions.set_jax("jax_log_compiles", before)
    assert jax.config.jax_log_compiles == before


def test_options_of_xla_and_jax_are_named_in_one_module_only() -> None:
    """Every other module asks `pgcli.versions`."""
    for path in (ROOT / "pgcli").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name != "versions.py":
            assert 'compiler_options={"' not in text, path
            assert "jax.config.update" not in text, path
            assert "--xla" not in text, path
    assert os.environ["XLA_FLAGS"]


@pytest.mark.parametrize("loaded", ["earlier", "now"])
def test_program_from_a_cache_of_jax_is_refused(
    loaded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # XLA would write it without its functions
    function, argument = jax.jit(lambda x: jnp.sin(x) * len(loaded)), jnp.ones(3)
    _, data = versions.executable(function.lower(argument))
    assert data
    jax.clear_caches()
    function.lower(argument).compile()  # into the cache on disk
    jax.clear_caches()
    if loaded == "earlier":
        function.lower(argument).compile()
    else:  # another thread makes JAX use its cache
        name = "jax._src.compilation_cache.is_cache_used"
        monkeypatch.setattr(name, lambda _: True)
    with pytest.raises(RuntimeError, match="from a cache"):
        versions.executable(function.lower(argument))
