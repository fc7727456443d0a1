"""What the adapters of environment libraries share: promotion, dtypes, spaces."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pgcli.envs.base import Box, DeviceEnv, Discrete, EnvSpec, ObsSpace, Space, Step
from pgcli.envs.spaces import unsupported as unsupported
from pgcli.errors import UsageError
from pgcli.shapes import Array


@contextmanager
def their_rules() -> Iterator[None]:
    """JAX's ordinary promotion, which foreign code counts on, whatever ours is."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def cast(space: ObsSpace, obs: Any) -> Any:
    """An observation in the dtypes of our spaces."""
    if isinstance(space, Mapping):
        return {name: cast(part, obs[name]) for name, part in space.items()}
    return jnp.asarray(obs, space.dtype)


def from_reset_and_step(
    spec: EnvSpec,
    reset: Callable[[Array], tuple[Any, Any]],
    step: Callable[[Array, Any, Array], tuple[Any, Step]],
) -> DeviceEnv:
    """Foreign functions under our contract: their rules inside, our dtypes outside.

    A state keeps the dtypes that it has after a reset, so that it can be carried by a
    scan; Python scalars in it become arrays.
    """

    def first(key: Array) -> tuple[Any, Any]:
        with their_rules():
            state, obs = reset(key)
            return jax.tree.map(jnp.asarray, state), cast(spec.obs, obs)

    kinds = jax.eval_shape(lambda key: first(key)[0], jax.random.key(0))

    def after(key: Array, state: Any, action: Array) -> tuple[Any, Step]:
        with their_rules():
            state, (obs, reward, terminated, truncated) = step(key, state, action)
            state = jax.tree.map(lambda x, kind: _as(kind, x), state, kinds)
            return state, Step(
                cast(spec.obs, obs),
                jnp.asarray(reward, jnp.float32),
                jnp.asarray(terminated, bool),
                jnp.asarray(truncated, bool),
            )

    return DeviceEnv(spec, first, after)


def _as(kind: Any, x: Any) -> Array:
    if jnp.issubdtype(kind.dtype, jax.dtypes.prng_key):
        return x  # type: ignore[no-any-return]
    return jnp.asarray(x, kind.dtype)


def box(shape: Any, low: Any, high: Any) -> Box:
    """A float32 Box from bounds that are numbers or arrays."""

    def bound(value: Any) -> float | tuple[float, ...]:
        flat = np.broadcast_to(np.asarray(value, np.float32), shape).reshape(-1)
        values = [float(x) for x in flat]
        return values[0] if len(set(values)) == 1 else tuple(values)

    return Box(tuple(shape), "float32", bound(low), bound(high))


def unknown_kwargs(env_id: str, error: Exception) -> UsageError:
    """`env.kwargs` that the library did not take."""
    return UsageError(
        f"env.kwargs does not fit: {error}", where=f"environment {env_id}"
    )


def discrete(n: Any) -> Space:
    """The integers below `n`."""
    return Discrete(int(n))
