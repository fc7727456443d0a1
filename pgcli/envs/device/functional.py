"""On-device environments from Gymnasium's functional API (prefix `func:`).

Gymnasium ships CartPole and Pendulum as pure JAX functions. They are used directly,
never through their vector wrapper, with three corrections (seen in 1.3.0): CartPole's
`polemass_length` is mass *times* length, 0.05; actions are floats where the dynamics
compare them with 0.5; and the time limits of the registered ids apply, 500 and 200.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from pgcli.arrays.shapes import Array
from pgcli.envs.base import DeviceEnv, EnvSpec, Step
from pgcli.envs.device.adapter_support import from_reset_and_step, unknown_kwargs
from pgcli.envs.spaces import from_gymnasium


def _cartpole(kwargs: Mapping[str, Any]) -> tuple[Any, Any, int]:
    from gymnasium.envs.phys2d.cartpole import CartPoleFunctional, CartPoleParams

    given = {"polemass_length": 0.05, **kwargs}
    return CartPoleFunctional(), CartPoleParams(**given), 500


def _pendulum(kwargs: Mapping[str, Any]) -> tuple[Any, Any, int]:
    from gymnasium.envs.phys2d.pendulum import PendulumFunctional, PendulumParams

    return PendulumFunctional(), PendulumParams(**kwargs), 200


FUNCTIONAL: dict[str, Callable[[Mapping[str, Any]], tuple[Any, Any, int]]] = {
    "CartPole-v1": _cartpole,
    "Pendulum-v1": _pendulum,
}


def make_functional(
    name: str, kwargs: Mapping[str, Any], max_episode_steps: int | None
) -> DeviceEnv:
    """The environment `func:NAME`.

    Args:
      name: a key of `FUNCTIONAL`, or an attribute of a module that the user named.
      kwargs: overrides of the physical constants.
      max_episode_steps: time limit; None for the registered id's own.

    Raises:
      UsageError: `kwargs` names no constant of this environment.
    """
    if name not in FUNCTIONAL:
        from pgcli.envs.device.user_functional import make_users

        return make_users(name, kwargs, max_episode_steps)
    try:
        func, params, limit = FUNCTIONAL[name](kwargs)
    except TypeError as error:
        raise unknown_kwargs(f"func:{name}", error) from None
    limit = max_episode_steps or limit
    return from_func_env(f"func:{name}", func, params, limit, "float32")


def from_func_env(
    id: str,
    func: Any,
    params: Any,
    limit: int,
    action_dtype: str | None = None,
) -> DeviceEnv:
    """A Gymnasium `FuncEnv` under our contract, with a time limit.

    Args:
      id: how it is called.
      func: the environment's functions.
      params: what they get as their last argument; None: nothing.
      limit: steps after which an episode is cut.
      action_dtype: of the actions that they get; None: the space's own.
    """
    spec = EnvSpec(
        id,
        from_gymnasium(func.observation_space, id),
        from_gymnasium(func.action_space, id),
        limit,
    )
    more = () if params is None else (params,)

    def reset(key: Array) -> tuple[Any, Any]:
        state_key, obs_key = jax.random.split(key)
        state = func.initial(state_key, *more)
        return (state, jnp.int32(0)), func.observation(state, obs_key, *more)

    def step(key: Array, state: Any, action: Array) -> tuple[Any, Step]:
        inner, elapsed = state
        move, see, end, pay = jax.random.split(key, 4)
        action = jnp.asarray(action, action_dtype or spec.action.dtype)
        after = func.transition(inner, action, move, *more)
        terminated = func.terminal(after, end, *more)
        reward = func.reward(inner, action, after, pay, *more)
        obs = func.observation(after, see, *more)
        cut = elapsed + 1 >= limit
        return (after, elapsed + 1), Step(obs, reward, terminated, cut)

    env = from_reset_and_step(spec, reset, step)
    return env._replace(cuts_at_limit_only=True)
