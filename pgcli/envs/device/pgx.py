"""On-device environments of pgx (prefix `pgx:`) for one player: MinAtar and 2048.

A game of MinAtar ends when it is lost and can otherwise continue for ever. pgx sets no
time limit; the limits here are those of gymnax's MinAtar, so that returns can be
compared: 1000 steps, and 2500 for Freeway, which would otherwise terminate one step
later. Its actions are all valid; those of 2048 have masks, and an invalid one loses.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from pgcli.arrays.shapes import Array
from pgcli.envs.action_masks import KEY
from pgcli.envs.base import ActionMask, Box, DeviceEnv, Discrete, EnvSpec, ObsSpace
from pgcli.envs.device.adapter_support import (
    from_reset_and_step,
    quietly,
    unknown_kwargs,
    with_time_limit,
)
from pgcli.envs.device.pictures import grid_picture

NAMES = {
    "2048": ("play2048", "Play2048", 10_000),
    "minatar-asterix": ("minatar.asterix", "MinAtarAsterix", 1000),
    "minatar-breakout": ("minatar.breakout", "MinAtarBreakout", 1000),
    "minatar-freeway": ("minatar.freeway", "MinAtarFreeway", 2500),
    "minatar-seaquest": ("minatar.seaquest", "MinAtarSeaquest", 1000),
    "minatar-space_invaders": ("minatar.space_invaders", "MinAtarSpaceInvaders", 1000),
}
"""Name -> (module of pgx, class, time limit)."""


@quietly()
def make(
    name: str, kwargs: Mapping[str, Any], max_episode_steps: int | None
) -> DeviceEnv:
    """The environment `pgx:NAME`; `kwargs` are arguments of its constructor."""
    env_id, (home, game, limit) = f"pgx:{name}", NAMES[name]
    limit = max_episode_steps or limit
    try:
        env = getattr(importlib.import_module(f"pgx.{home}"), game)(**kwargs)
    except TypeError as error:
        raise unknown_kwargs(env_id, error) from None
    shape = tuple(env.observation_shape)
    board = Box(shape, "uint8", 0.0, 1.0)
    num_actions, masked = int(env.num_actions), home == "play2048"
    mask = ActionMask((num_actions,), (num_actions,), "legal_action_mask")
    space: ObsSpace = {"observation": board, KEY: mask} if masked else board
    spec = EnvSpec(env_id, space, Discrete(num_actions), limit)

    def seen(state: Any) -> Any:
        if not masked:
            return state.observation
        return {"observation": state.observation, KEY: state.legal_action_mask}

    # rewards [1] of the only player
    def reset(key: Array) -> tuple[Any, Any]:
        state = env.init(key)
        return state, seen(state)

    def step(key: Array, state: Any, action: Array) -> tuple[Any, Any, Any, Any]:
        state = env.step(state, action, key)
        return state, seen(state), state.rewards[0], state.terminated

    env_of_game = from_reset_and_step(spec, *with_time_limit(limit, reset, step))
    return env_of_game._replace(render=lambda state: grid_picture(state[0].observation))
