"""On-device environments of Brax (prefix `brax:`), and others with its protocol.

They neither reset themselves nor have a time limit; their `done` is a float, nonzero
if the MDP ended. Brax's own training truncates episodes with its EpisodeWrapper, by
default after 1000 steps, and begins every episode of an environment in the same state;
here each begins in a fresh one.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pgcli.arrays import random_keys
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
from pgcli.envs.device.pictures import mujoco_pictures
from pgcli.errors import UsageError

EPISODE_LENGTH = 1000


@quietly()
def make(
    name: str, kwargs: Mapping[str, Any], max_episode_steps: int | None
) -> DeviceEnv:
    """The environment `brax:NAME`; its limit is 1000 of Brax's own steps if it is None.

    `kwargs` are arguments of its constructor, such as `backend`, and `action_repeat`:
    the number of steps with each action, 1 by default as in `brax.envs.create`.
    """
    from brax import envs

    # the repeat is ours; all other arguments are passed on
    env_id, given = f"brax:{name}", dict(kwargs)
    action_repeat = given.pop("action_repeat", 1)
    try:
        env = envs.get_environment(name, **given)
    except (TypeError, ValueError) as error:
        raise unknown_kwargs(env_id, error) from None
    made = from_brax(env_id, env, EPISODE_LENGTH, action_repeat, max_episode_steps)

    def positions(state: Any) -> tuple[Any, Any]:
        return state[0].pipeline_state.q, state[0].pipeline_state.qd

    fps = 1 / (float(env.dt) * action_repeat)
    return made._replace(render=mujoco_pictures(env.sys.mj_model, positions), fps=fps)


def from_brax(
    env_id: str,
    env: Any,
    episode_length: int,
    action_repeat: int,
    max_episode_steps: int | None,
) -> DeviceEnv:
    """An environment with Brax's `reset(key)` and `step(state, action)`.

    Actions are within ±1, as in Brax's own training; the environments scale them. If
    there are several observations, the policy gets only `state`, if present: the others
    are privileged information of the simulator.

    Args:
      env_id: its id with the prefix.
      env: the environment without wrappers.
      episode_length: time limit in its own steps.
      action_repeat: its own steps per step of ours.
      max_episode_steps: time limit in our steps; None to compute it from
        `episode_length`.

    Raises:
      UsageError: `action_repeat` is not a positive integer.
    """
    if not isinstance(action_repeat, int) or action_repeat < 1:
        message = f"action_repeat must be a whole number from 1, not {action_repeat}"
        raise UsageError(f"env.kwargs: {message}", where=f"environment {env_id}")
    # jit, so that the three uses of `begin` trace it once
    begin = jax.jit(env.reset)
    shapes = jax.eval_shape(begin, random_keys.key(0)).obs
    # the limit in our steps, rounded up
    limit = max_episode_steps or -(-episode_length // action_repeat)
    act = _repeated(env.step, action_repeat)
    spec = EnvSpec(
        env_id, _obs_space(_visible(shapes)), box((env.action_size,), -1.0, 1.0), limit
    )

    def reset(key: Array) -> tuple[Any, Any]:
        state = begin(key)
        return state, _visible(state.obs)

    # the random key of the environment is part of its state
    def step(_: Array, state: Any, action: Array) -> tuple[Any, Any, Any, Any]:
        state, reward, done = act(state, action)
        return state, _visible(state.obs), reward, done != 0

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

    Rewards are summed, up to the step that ends the MDP.
    """

    def once(state: Any, action: Array) -> tuple[Any, Any, Any]:
        after = step(state, action)
        return after, after.reward, after.done

    # a scan over the repeats; rewards after the end are not added
    def several(state: Any, action: Array) -> tuple[Any, Any, Any]:
        def one(carry: tuple[Any, Array, Array], _: None) -> tuple[Any, None]:
            state, total, done = carry
            after = step(state, action)
            total = total + jnp.where(done, 0.0, after.reward)
            return (like(state, after), total, done | (after.done != 0)), None

        first = (state, jnp.float32(0), jnp.bool_(False))
        return jax.lax.scan(one, first, length=count)[0]

    return once if count == 1 else several
