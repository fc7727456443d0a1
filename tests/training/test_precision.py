"""JAX's own settings, 64 bits and checks for NaN, change no result."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases.spaces import Odd
from support.small_runs import assert_same_bytes, config, snapshot

from pgcli.config.schema import EnvConfig
from pgcli.envs.make import make_host_env
from pgcli.rollout.host_collector import empty_slot
from pgcli.training.backend.precision import in_32_bits
from pgcli.training.loops.host_loop import HostLoop


@pytest.fixture
def wide() -> Iterator[None]:
    """A process that computes in 64 bits."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def trained() -> dict[str, np.ndarray]:
    loop = HostLoop(config("Odd-v0"))
    loop.advance(1, 0.0)
    return snapshot(loop)


def test_training_in_a_process_of_64_bits_has_the_same_bytes(
    request: pytest.FixtureRequest,
) -> None:
    expected = trained()
    request.getfixturevalue("wide")
    with in_32_bits():
        assert_same_bytes(trained(), expected)
    assert jnp.zeros(1).dtype == np.float64  # the process keeps its setting


@pytest.mark.usefixtures("wide")
def test_environment_in_this_process_keeps_64_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []

    def step(self: Any, action: Any) -> Any:
        seen.append(jnp.zeros(1).dtype)
        return self._good, 1.0, False, False, {}

    monkeypatch.setattr(Odd, "step", step)
    with in_32_bits():
        env = make_host_env(EnvConfig("Odd-v0"), [0])
        assert jnp.zeros(1).dtype == np.float32
        env.reset(np.zeros((1, 2), np.float32))
        env.step(np.zeros(1, np.int32), empty_slot(env))
    assert seen == [np.float64]


def test_nan_that_is_expected_is_no_error() -> None:
    with jax.debug_nans(True), in_32_bits():
        assert np.isnan(jax.jit(lambda x: 0 * x)(jnp.float32(np.inf)))


@pytest.mark.parametrize(
    "command", ["train", pytest.param("eval", marks=pytest.mark.slow)]
)
def test_platform_without_a_plugin_is_named_with_exit_6(
    command: str, tmp_path: Path
) -> None:
    words = {"train": ["--env", "CartPole-v1", "--steps", "64"], "eval": ["x"]}[command]
    if command == "eval":
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "manifest.json").write_text("{}")
        words = [str(tmp_path / "x")]
    done = subprocess.run(
        [sys.executable, "-m", "pgcli", command, *words, "--runs-dir", str(tmp_path)],
        env={**os.environ, "JAX_PLATFORMS": "cuda"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6
    assert "JAX_PLATFORMS=cuda is set" in done.stderr
