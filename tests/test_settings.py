"""The settings of conftest.py hold: each one refuses what it is there to refuse."""

import os
import subprocess
import sys
import warnings
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import pytest
from jax.dtypes import TypePromotionError
from jaxtyping import TypeCheckError

from pgcli.algos.advantage import gae


def test_settings_give_two_cpu_devices() -> None:
    assert [device.platform for device in jax.devices()] == ["cpu", "cpu"]


def test_settings_refuse_rank_promotion() -> None:
    with pytest.raises(ValueError, match="rank_promotion"):
        jnp.ones((2, 3)) + jnp.ones(3)


def test_settings_refuse_dtype_promotion() -> None:
    with pytest.raises(TypePromotionError, match="strict"):
        jnp.ones(2, jnp.float32) + jnp.ones(2, jnp.int32)


def test_settings_check_the_shapes_of_the_core() -> None:
    x, flag = jnp.ones((3, 2)), jnp.zeros((3, 2), bool)
    gamma = jnp.float32(0.9)
    assert gae(x, x, x, flag, flag, gamma, gamma).shape == (3, 2)
    with pytest.raises(TypeCheckError):
        gae(x, x[:2], x, flag, flag, gamma, gamma)


def test_settings_turn_warnings_into_errors() -> None:
    with pytest.raises(DeprecationWarning):
        warnings.warn("old", DeprecationWarning, stacklevel=1)


def test_settings_keep_the_compilation_cache_out_of_the_users_home() -> None:
    assert (
        jax.config.jax_compilation_cache_dir == os.environ["JAX_COMPILATION_CACHE_DIR"]
    )


def test_user_environ_has_none_of_the_settings(user_environ: Mapping[str, str]) -> None:
    code = "import jax; print(jax.device_count(), jax.config.jax_numpy_rank_promotion)"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        env=dict(user_environ),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert shown.split() == ["1", "allow"]
