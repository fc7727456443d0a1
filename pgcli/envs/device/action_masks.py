"""Action masks of on-device environments: a key of their observations."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from pgcli.arrays.shapes import Array
from pgcli.config.schema import AUTO_MASK, NO_MASK
from pgcli.envs.action_masks import KEY, OFF
from pgcli.envs.base import (
    ActionMask,
    DeviceEnv,
    MultiBinary,
    ObsSpace,
    Step,
    component_sizes,
    mask_key,
    split_mask,
    without_mask,
)
from pgcli.errors import UsageError


def with_masks(env: DeviceEnv, source: str) -> DeviceEnv:
    """The environment with action masks as in `env.action_mask`.

    A back end that has masks adds them to the observation itself. In all others they
    are a key of a Dict observation, which stays an ordinary part with `off`.

    Raises:
      UsageError: there is no such key, or it is no mask of these actions.
    """
    obs, action = env.spec.obs, env.spec.action
    own = mask_key(obs)
    if own is not None:
        if source == NO_MASK:
            return _mapped(env, without_mask(obs), lambda x, _: split_mask(obs, x)[0])
        if source in (AUTO_MASK, own):
            return env
    key = KEY if source == AUTO_MASK else source
    sizes = component_sizes(action)
    is_there = isinstance(obs, Mapping) and len(obs) > 1 and key in obs
    if source == NO_MASK or (source == AUTO_MASK and not (is_there and sizes)):
        return env

    def refused(problem: str) -> UsageError:
        message = f"`env.action_mask: {source}`: {problem}"
        return UsageError(message, where=f"environment {env.spec.id}", help=OFF)

    if sizes is None:
        raise refused("there are no masks for the actions of a Box")
    if not isinstance(obs, Mapping) or not is_there:
        raise refused("on the device it must be one of several keys of observations")
    # [L], or of another shape with L elements; bits also with one value each
    total, shape = sum(sizes), obs[key].shape
    bits = isinstance(action, MultiBinary) and shape == action.shape
    if math.prod(shape) != total and not bits:
        raise refused(f"observation[{key!r}] has the shape {shape}, not ({total},)")

    def flat(x: dict[str, Any], done: Array) -> dict[str, Any]:
        given = jnp.stack([jnp.ones_like(x[key]), x[key]], axis=-1) if bits else x[key]
        # another value than 0 and 1 is found by the checks of rollouts
        mask = jnp.select([given == 0, given == 1], [0, 1], 2).reshape(total)
        return {**x, key: jnp.where(done, 1, mask).astype(jnp.int8)}

    space = ActionMask((total,), sizes, f"observation[{key!r}]")
    return _mapped(env, {**obs, key: space}, flat)


def _mapped(
    env: DeviceEnv, space: ObsSpace, function: Callable[[Any, Array], Any]
) -> DeviceEnv:
    """The environment with other observations: `function(obs, whether it ended)`."""

    def reset(key: Array) -> tuple[Any, Any]:
        state, obs = env.reset(key)
        return state, function(obs, jnp.bool_(False))

    def step(key: Array, state: Any, action: Array) -> tuple[Any, Step]:
        state, after = env.step(key, state, action)
        done = after.terminated | after.truncated
        return state, after._replace(obs=function(after.obs, done))

    return env._replace(spec=replace(env.spec, obs=space), reset=reset, step=step)
