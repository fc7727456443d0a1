"""On-device environments of gymnax (prefix `gymnax:`).

They are stepped with `step_env`, which neither resets nor applies the time limit: its
flag is the end of the MDP, and `is_truncated` compares the elapsed steps with
`max_steps_in_episode` (gymnax 1.0; earlier versions merge the two in one flag).
"""

from collections.abc import Mapping
from typing import Any

from pgcli.arrays.shapes import Array
from pgcli.envs.base import DeviceEnv, EnvSpec, ObsSpace, Step
from pgcli.envs.device.adapter_support import (
    box,
    discrete,
    from_reset_and_step,
    quietly,
    unknown_kwargs,
    unsupported,
)


def _space(space: Any, env_id: str) -> Any:
    from gymnax.environments import spaces

    if isinstance(space, spaces.Discrete):
        return discrete(space.n)
    if isinstance(space, spaces.Box):
        return box(space.shape, space.low, space.high)
    raise unsupported(space, env_id)


@quietly()
def make(
    name: str, kwargs: Mapping[str, Any], max_episode_steps: int | None
) -> DeviceEnv:
    """The environment `gymnax:NAME`.

    Args:
      name: one of `DEVICE_NAMES`.
      kwargs: overrides of its parameters, or arguments of its constructor.
      max_episode_steps: time limit; None for gymnax's own.

    Raises:
      UsageError: a key of `kwargs` is neither.
    """
    import gymnax

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
    obs_space: ObsSpace = _space(env.observation_space(params), env_id)
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

    return from_reset_and_step(spec, reset, step)
