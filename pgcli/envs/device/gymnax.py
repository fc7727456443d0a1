"""On-device environments of gymnax (prefix `gymnax:`).

They are stepped with `step_env`, which neither resets nor applies the time limit: its
flag is the end of the MDP, and `is_truncated` compares the elapsed steps with
`max_steps_in_episode` (gymnax 1.0; earlier versions merge the two in one flag).
"""

from collections.abc import Mapping
from typing import Any

from pgcli.arrays.shapes import Array
from pgcli.arrays.shared import shared
from pgcli.envs.base import Box, DeviceEnv, Discrete, EnvSpec, ObsSpace, Step
from pgcli.envs.device.adapter_support import (
    box,
    from_reset_and_step,
    quietly,
    unknown_kwargs,
    unsupported,
)
from pgcli.envs.device.pictures import grid_picture, twin_pictures

CLASSIC = {
    "Acrobot-v1": ("joint_angle1", "joint_angle2", "velocity_1", "velocity_2"),
    "CartPole-v1": ("x", "x_dot", "theta", "theta_dot"),
    "MountainCar-v0": ("position", "velocity"),
    "MountainCarContinuous-v0": ("position", "velocity"),
    "Pendulum-v1": ("theta", "theta_dot"),
}
"""Fields of the states that Gymnasium's environments of the same names draw."""


def _space(space: Any, env_id: str) -> Any:
    from gymnax.environments import spaces

    if isinstance(space, spaces.Discrete):
        return Discrete(int(space.n))
    if isinstance(space, spaces.Box):
        return box(space.shape, space.low, space.high)
    raise unsupported(space, env_id)


def make(
    name: str, kwargs: Mapping[str, Any], max_episode_steps: int | None
) -> DeviceEnv:
    """The environment `gymnax:NAME`; `kwargs` are parameters or of its constructor."""
    return shared(_make, name, tuple(sorted(kwargs.items())), max_episode_steps)


@quietly()
def _make(
    name: str, arguments: tuple[tuple[str, Any], ...], max_episode_steps: int | None
) -> DeviceEnv:
    import gymnax

    kwargs = dict(arguments)
    # keys of the default parameters override them; all others go to the constructor
    env_id = f"gymnax:{name}"
    known = vars(gymnax.make(name)[1])
    try:
        env, params = gymnax.make(
            name, **{k: v for k, v in kwargs.items() if k not in known}
        )
    except TypeError as error:
        raise unknown_kwargs(env_id, error) from None
    params = params.replace(**{k: v for k, v in kwargs.items() if k in known})
    # the limit keeps its type, an integer or a float
    if max_episode_steps is not None:
        kind = type(known["max_steps_in_episode"])
        params = params.replace(max_steps_in_episode=kind(max_episode_steps))
    declared = env.observation_space(params)
    obs_space: ObsSpace = _space(declared, env_id)
    if name == "MemoryChain-bsuite":  # 1.0.1 declares bits from 0, and shows them as ±1
        obs_space = box(declared.shape, -1.0, declared.high)
    spec = EnvSpec(
        env_id,
        obs_space,
        _space(env.action_space(params), env_id),
        int(params.max_steps_in_episode),
    )

    # unvectorised functions without autoreset
    def reset(key: Array) -> tuple[Any, Any]:
        obs, state = env.reset_env(key, params)
        return state, obs

    def step(key: Array, state: Any, action: Array) -> tuple[Any, Step]:
        obs, state, reward, terminated, _ = env.step_env(key, state, action, params)
        return state, Step(obs, reward, terminated, env.is_truncated(state, params))

    made = from_reset_and_step(spec, reset, step)
    if name in CLASSIC:
        return made._replace(render=twin_pictures(name, CLASSIC[name]), fps=30.0)
    if isinstance(obs_space, Box) and len(obs_space.shape) in (2, 3):
        return made._replace(render=lambda x: grid_picture(env.get_obs(x, params)))
    return made
