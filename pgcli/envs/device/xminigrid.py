"""On-device grid worlds of XLand-MiniGrid's port of MiniGrid (prefix `xminigrid:`).

An observation is the agent's view [H, W, 2], rotated to its heading: type and colour of
each tile, as numbers. Reaching the goal terminates; the step counter of the library
only truncates.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pgcli.arrays.shapes import Array
from pgcli.envs.base import Box, DeviceEnv, Discrete, EnvSpec, Step
from pgcli.envs.device.adapter_support import (
    from_reset_and_step,
    quietly,
    unknown_kwargs,
)


@quietly()
def make(
    name: str, kwargs: Mapping[str, Any], max_episode_steps: int | None
) -> DeviceEnv:
    """The environment `xminigrid:NAME`; `kwargs` are parameters, such as `view_size`.

    The reward for the goal decreases with the elapsed fraction of the time limit, as in
    MiniGrid.
    """
    import xminigrid
    from xminigrid.core.constants import NUM_COLORS, NUM_TILES

    env_id = f"xminigrid:{name}"
    try:
        env, params = xminigrid.make(name, **kwargs)
    except TypeError as error:
        raise unknown_kwargs(env_id, error) from None
    params = params.replace(max_steps=max_episode_steps or params.max_steps)
    # the largest number of either channel, type or colour
    largest = float(max(NUM_TILES, NUM_COLORS) - 1)
    spec = EnvSpec(
        env_id,
        Box(tuple(env.observation_shape(params)), "uint8", 0.0, largest),
        Discrete(int(env.num_actions(params))),
        int(params.max_steps),
    )

    def reset(key: Array) -> tuple[Any, Any]:
        now = env.reset(params, key)
        return now, now.observation

    # the random key of the environment is part of its state; `discount` is 0 at the
    # goal only, `last()` also at the time limit
    def step(_: Array, state: Any, action: Array) -> tuple[Any, Step]:
        after = env.step(params, state, action)
        terminated = after.last() & (after.discount == 0)
        truncated = after.state.step_num >= params.max_steps
        return after, Step(after.observation, after.reward, terminated, truncated)

    made = from_reset_and_step(spec, reset, step)
    return made._replace(render=lambda state: np.asarray(env.render(params, state)))
