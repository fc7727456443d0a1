"""On-device environments of Brax (prefix `brax:`), and of all that speak its protocol.

They neither reset themselves nor know a time limit, and their `done` is a float that
says that the MDP ended. Brax's own training cuts episodes with its EpisodeWrapper, by
default after 1000 steps, and begins every episode of an environment from the same
state; here each begins from a fresh one.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pgcli.arrays.shapes import Array
from pgcli.envs.base import DeviceEnv, EnvSpec, ObsSpace
from pgcli.envs.device.adapter_support import (
    box,
    from_reset_and_step,
    like,
    quietly,
    unknown_kwargs,
    with_time_limit,
)
from pgcli.errors import UsageError

NAMES = (
    "ant",
    "halfcheetah",
    "hopper",
    "humanoid",
    "humanoidstandup",
    "inverted_pendulum",
    "inverted_double_pendulum",
    "pusher",
    "reacher",
    "swimmer",
    "walker2d",
)
"""All but `fast`, a stub for Brax's own tests."""

EPISODE_LENGTH = 1000


def names() -> list[str]:
    """What `brax:` can be followed by; brax is not imported."""
    return list(NAMES)


def make(
    name: str, kwargs: Mapping[str, Any], max_episode_steps: int | None
) -> DeviceEnv:
    """The environment `brax:NAME`.

    Args:
      name: one of `NAMES`.
      kwargs: arguments of its constructor, such as `backend`; and `action_repeat`, how
        often it gets each action, 1 by default as in `brax.envs.create`.
      max_episode_steps: time limit; None for 1000 of Brax's own steps.

    Raises:
      UsageError: `kwargs` holds what it does not take.
    """
    env_id, given = f"brax:{name}", dict(kwargs)
    action_repeat = given.pop("action_repeat", 1)
    with quietly():
        from brax import envs

        try:
            env = envs.get_environment(name, **given)
        except (TypeError, ValueError) as error:
            raise unknown_kwargs(env_id, error) from None
        return from_brax(env_id, env, EPISODE_LENGTH, action_repeat, max_episode_steps)


def from_brax(
    env_id: str,
    env: Any,
    episode_length: int,
    action_repeat: int,
    max_episode_steps: int | None,
) -> DeviceEnv:
    """An environment with Brax's `reset(key)` and `step(state, action)`.

    Actions are within ±1, as in Brax's own training; the environments scale them. Of
    several observations the policy sees `state` alone where there is one: the others
    are then what a simulator knows and a robot does not.

    Args:
      env_id: its id, prefix and all.
      env: the environment, in no wrapper.
      episode_length: time limit in its own steps.
      action_repeat: its own steps to one of ours.
      max_episode_steps: time limit in our steps; None for what follows from the above.

    Raises:
      UsageError: the repeat is no number of steps.
    """
    if not isinstance(action_repeat, int) or action_repeat < 1:
        message = f"action_repeat must be a whole number from 1, not {action_repeat}"
        raise UsageError(f"env.kwargs: {message}", where=f"environment {env_id}")
    begin = jax.jit(env.reset)  # is traced once, though it is used thrice
    seen = jax.eval_shape(begin, jax.random.key(0)).obs
    limit = max_episode_steps or -(-episode_length // action_repeat)
    act = _repeated(env.step, action_repeat)
    spec = EnvSpec(
        env_id, _obs_space(_visible(seen)), box((env.action_size,), -1.0, 1.0), limit
    )

    def reset(key: Array) -> tuple[Any, Any]:
        state = begin(key)
        return state, _visible(state.obs)

    def step(_: Array, state: Any, action: Array) -> tuple[Any, Any, Any, Any]:
        state, reward, done = act(state, action)  # chance is in the state
        return state, _visible(state.obs), reward, done

    return from_reset_and_step(spec, *with_time_limit(limit, reset, step))


def _visible(obs: Any) -> Any:
    return obs["state"] if isinstance(obs, Mapping) and "state" in obs else obs


def _obs_space(obs: Any) -> ObsSpace:
    if isinstance(obs, Mapping):
        return {name: box(part.shape, -np.inf, np.inf) for name, part in obs.items()}
    return box(obs.shape, -np.inf, np.inf)


def _repeated(
    step: Callable[[Any, Array], Any], count: int
) -> Callable[[Any, Array], tuple[Any, Any, Any]]:
    """(state, action) -> (state, reward, done) of `count` steps with one action.

    Rewards are added up, up to the step that ends the MDP.
    """

    def once(state: Any, action: Array) -> tuple[Any, Any, Any]:
        after = step(state, action)
        return after, after.reward, after.done

    def several(state: Any, action: Array) -> tuple[Any, Any, Any]:
        def one(carry: tuple[Any, Array, Array], _: None) -> tuple[Any, None]:
            state, total, done = carry
            after = step(state, action)
            total = total + jnp.where(done, 0.0, after.reward)
            return (like(state, after), total, done | (after.done != 0)), None

        first = (state, jnp.float32(0), jnp.bool_(False))
        return jax.lax.scan(one, first, length=count)[0]

    return once if count == 1 else several
