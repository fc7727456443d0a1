"""The contract of on-device environments, checked while JAX traces them.

Nothing is converted silently: an observation of another shape, or a reward [1], ends
the run before training.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pgcli.arrays import random_keys
from pgcli.envs.actions import env_action, random_action
from pgcli.envs.base import Box, DeviceEnv, MultiBinary, ObsSpace, Space
from pgcli.errors import EnvironmentFailed

DECLARED = "return what observation_space declares, or correct it"
SCALAR = "return a scalar: `[0]`, `jnp.all`, `jnp.any` or `jnp.sum`"


def cast_obs(env_id: str, space: ObsSpace, obs: Any, of: str, key: str = "") -> Any:
    """An observation in the dtypes of our spaces.

    Raises an EnvironmentFailed if its shape or dtype differs, which names the call `of`
    (`reset` or `step`) and the part `key` of the observation.
    """

    def refused(problem: str, help: str = DECLARED) -> EnvironmentFailed:
        where = f"environment {env_id}"
        message = f"the observation{key} of a {of} {problem}"
        return EnvironmentFailed(message, where=where, help=help)

    if not isinstance(space, Space):
        if not isinstance(obs, Mapping) or obs.keys() != space.keys():
            actual = list(obs) if isinstance(obs, Mapping) else type(obs).__name__
            raise refused(f"has the keys {actual}; its space has {list(space)}")
        return {
            name: cast_obs(env_id, part, obs[name], of, f"[{name!r}]")
            for name, part in space.items()
        }
    array = jnp.asarray(obs)
    if array.shape != space.shape:
        raise refused(f"has shape {list(array.shape)}, not {list(space.shape)}")
    ours, theirs = np.dtype(space.dtype), array.dtype
    if ours.kind == "f":
        fits, help = _kind_of(theirs) in "biuf", DECLARED
    elif isinstance(space, Box):  # bytes, which values of a wider type would wrap
        fits = np.can_cast(theirs, ours, "safe")
        help = f"return it as {ours}: `obs.astype(jnp.{ours})`"
    else:
        fits, help = _kind_of(theirs) in "biu", DECLARED
    if not fits:
        raise refused(f"has dtype {theirs}, not {ours}", help)
    if isinstance(space, MultiBinary):
        array = array.astype(jnp.int32).clip(-1, 2)  # stays outside if it is
    return array.astype(ours)


def cast_scalar(env_id: str, name: str, value: Any, dtype: str, kinds: str) -> Any:
    """A reward or a flag in our dtype; an EnvironmentFailed if it is no such scalar."""
    array = jnp.asarray(value)
    if array.shape != () or _kind_of(array.dtype) not in kinds:
        raise EnvironmentFailed(
            f"`{name}` is {array.dtype}{list(array.shape)}, not one {dtype}",
            where=f"environment {env_id}",
            help=SCALAR,
        )
    return array.astype(dtype)


def check_contract(env: DeviceEnv) -> None:
    """Traces a reset and a step, which check themselves, and compares their states.

    Raises an EnvironmentFailed if they differ in structure, shape or dtype.
    """

    def both(key: Any) -> Any:
        state, obs = env.reset(key)
        action = random_action(env.spec.action, (), np.random.default_rng(0))
        after, step = env.step(key, state, env_action(env.spec.action, action))
        check = (
            cast_obs(env.spec.id, env.spec.obs, obs, "reset"),
            cast_obs(env.spec.id, env.spec.obs, step.obs, "step"),
            cast_scalar(env.spec.id, "reward", step.reward, "float32", "f"),
            cast_scalar(env.spec.id, "terminated", step.terminated, "bool", "b"),
            cast_scalar(env.spec.id, "truncated", step.truncated, "bool", "b"),
        )
        return state, after, check

    def refused(problem: str, help: str) -> EnvironmentFailed:
        where = f"environment {env.spec.id}"
        return EnvironmentFailed(f"the state{problem}", where=where, help=help)

    # lax.scan carries the state: structure, shapes and dtypes must stay the same
    state, after, _ = jax.eval_shape(both, random_keys.key(0))
    before, later = (str(jax.tree.structure(tree)) for tree in (state, after))
    if before != later:
        raise refused(
            " has another structure after a step than after a reset: "
            f"{later}, not {before}",
            "return the same containers with the same keys from both",
        )
    paths = jax.tree_util.tree_flatten_with_path(state)[0]
    for (path, old), new in zip(paths, jax.tree.leaves(after), strict=True):
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            raise refused(
                f"{jax.tree_util.keystr(path)} is {_kind(new)} after a step, "
                f"{_kind(old)} after a reset",
                "jax.lax.scan needs the same shapes and dtypes from both",
            )


def _kind_of(dtype: Any) -> str:
    """`f` for all floats, bfloat16 included; else NumPy's letter."""
    return "f" if jnp.issubdtype(dtype, jnp.floating) else np.dtype(dtype).kind


def _kind(leaf: Any) -> str:
    """Dtype and shape, such as `float32[4]`."""
    return f"{leaf.dtype}{list(leaf.shape)}"
