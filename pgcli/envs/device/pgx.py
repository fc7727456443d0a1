"""On-device environments of pgx (prefix `pgx:`): MinAtar.

A game ends when it is lost and can otherwise continue for ever. pgx sets no time limit;
the limits here are those of gymnax's MinAtar, so that returns can be compared: 1000
steps, and 2500 for Freeway, which would otherwise terminate one step later.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from pgcli.arrays.shapes import Array
from pgcli.envs.base import Box, DeviceEnv, EnvSpec
from pgcli.envs.device.adapter_support import (
    discrete,
    from_reset_and_step,
    quietly,
    unknown_kwargs,
    with_time_limit,
)
from pgcli.envs.device.pictures import grid_picture

NAMES = {
    "minatar-asterix": ("Asterix", 1000),
    "minatar-breakout": ("Breakout", 1000),
    "minatar-freeway": ("Freeway", 2500),
    "minatar-seaquest": ("Seaquest", 1000),
    "minatar-space_invaders": ("SpaceInvaders", 1000),
}
"""Name -> (class without its prefix, time limit)."""


@quietly()
def make(
    name: str, kwargs: Mapping[str, Any], max_episode_steps: int | None
) -> DeviceEnv:
    """The environment `pgx:NAME`.

    Args:
      name: a key of `NAMES`.
      kwargs: arguments of its constructor, such as `sticky_action_prob`.
      max_episode_steps: time limit; None for the one of `NAMES`.

    Raises:
      UsageError: the constructor rejects an argument.
    """
    env_id, (short, limit) = f"pgx:{name}", NAMES[name]
    limit = max_episode_steps or limit
    # the module of the game: `minatar-freeway` is `pgx.minatar.freeway`
    suite, _, game = name.partition("-")
    module = importlib.import_module(f"pgx.{suite}.{game}")
    try:
        env = getattr(module, f"MinAtar{short}")(**kwargs)
    except TypeError as error:
        raise unknown_kwargs(env_id, error) from None
    shape = tuple(env.observation_shape)
    spec = EnvSpec(
        env_id, Box(shape, "uint8", 0.0, 1.0), discrete(env.num_actions), limit
    )

    # rewards [1] of the only player
    def reset(key: Array) -> tuple[Any, Any]:
        state = env.init(key)
        return state, state.observation

    def step(key: Array, state: Any, action: Array) -> tuple[Any, Any, Any, Any]:
        state = env.step(state, action, key)
        return state, state.observation, state.rewards[0], state.terminated

    env_of_game = from_reset_and_step(spec, *with_time_limit(limit, reset, step))
    return env_of_game._replace(render=lambda state: grid_picture(state[0].observation))
