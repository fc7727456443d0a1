"""Functions shared by the adapters: promotion, dtypes, time limits, spaces."""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pgcli.arrays import random_keys
from pgcli.arrays.shapes import Array
from pgcli.envs.base import Box, DeviceEnv, EnvSpec, Step
from pgcli.envs.device.contract import cast_obs, cast_scalar
from pgcli.envs.spaces import unsupported as unsupported
from pgcli.errors import UsageError


@contextmanager
def their_rules() -> Iterator[None]:
    """A context for tracing foreign code, with JAX's default promotion rules.

    Its warnings are for its own developers and are suppressed.
    """
    with (
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def quietly() -> Iterator[None]:
    """A context for importing libraries and making environments, without output.

    Some print notes on missing optional packages. Errors are raised as usual.
    """
    with their_rules(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield


def from_reset_and_step(
    spec: EnvSpec,
    reset: Callable[[Array], tuple[Any, Any]],
    step: Callable[[Array, Any, Any], tuple[Any, Step]],
) -> DeviceEnv:
    """An on-device environment from foreign functions, with the dtypes of our spaces.

    A state keeps the dtypes that it has after a reset, so that `lax.scan` can carry it;
    Python scalars in it become arrays. Only the time limit may truncate.

    Raises:
      EnvironmentFailed: what `reset` returns breaks the contract (`contract`).
    """

    def first(key: Array) -> tuple[Any, Any]:
        with their_rules():
            state, obs = reset(key)
            return jax.tree.map(jnp.asarray, state), cast_obs(
                spec.id, spec.obs, obs, "reset"
            )

    # shapes and dtypes of a state after a reset
    kinds = jax.eval_shape(lambda key: first(key)[0], random_keys.key(0))

    # a step, cast to these dtypes and to those of a Step
    def after(key: Array, state: Any, action: Any) -> tuple[Any, Step]:
        with their_rules():
            state, (obs, reward, terminated, truncated) = step(key, state, action)
            return like(kinds, state), Step(
                cast_obs(spec.id, spec.obs, obs, "step"),
                cast_scalar(spec.id, "reward", reward, "float32", "biuf"),
                cast_scalar(spec.id, "terminated", terminated, "bool", "biu"),
                cast_scalar(spec.id, "truncated", truncated, "bool", "biu"),
            )

    return DeviceEnv(spec, first, after, cuts_at_limit_only=True)


def with_time_limit(
    limit: int,
    reset: Callable[[Array], tuple[Any, Any]],
    step: Callable[[Array, Any, Array], tuple[Any, Any, Any, Any]],
) -> tuple[Callable[..., tuple[Any, Any]], Callable[..., tuple[Any, Step]]]:
    """(reset, step) that count the steps of an episode and truncate at `limit`.

    `reset` is key -> (state, obs), and `step` is (key, state, action) -> (state, obs,
    reward, terminated).
    """

    # the state becomes (state, elapsed steps)
    def first(key: Array) -> tuple[Any, Any]:
        state, obs = reset(key)
        return (state, jnp.int32(0)), obs

    def after(key: Array, state: Any, action: Array) -> tuple[Any, Step]:
        inner, elapsed = state
        inner, obs, reward, terminated = step(key, inner, action)
        truncated = elapsed + 1 >= limit
        return (inner, elapsed + 1), Step(obs, reward, terminated, truncated)

    return first, after


def like(kinds: Any, state: Any) -> Any:
    """A state with the dtypes of another; random keys stay as they are."""

    def one(kind: Any, x: Any) -> Any:
        is_key = jnp.issubdtype(kind.dtype, jax.dtypes.prng_key)
        return x if is_key else jnp.asarray(x, kind.dtype)

    return jax.tree.map(one, kinds, state)


def box(shape: Any, low: Any, high: Any) -> Box:
    """A float32 Box from bounds that are numbers or arrays."""

    # one number if all elements agree
    def bound(value: Any) -> float | tuple[float, ...]:
        flat = np.broadcast_to(np.asarray(value, np.float32), shape).reshape(-1)
        values = [float(x) for x in flat]
        return values[0] if len(set(values)) == 1 else tuple(values)

    return Box(tuple(shape), "float32", bound(low), bound(high))


def unknown_kwargs(env_id: str, error: Exception) -> UsageError:
    """The error for `env.kwargs` that the library rejected."""
    return UsageError(
        f"env.kwargs does not fit: {error}", where=f"environment {env_id}"
    )
