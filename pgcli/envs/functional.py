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

from pgcli.envs.base import DeviceEnv, EnvSpec, Step
from pgcli.envs.spaces import from_gymnasium
from pgcli.errors import UsageError
from pgcli.shapes import Array


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
      name: a key of `FUNCTIONAL`.
      kwargs: overrides of the physical constants.
      max_episode_steps: time limit; None for the registered id's own.

    Raises:
      UsageError: `kwargs` names no constant of this environment.
    """
    try:
        func, params, limit = FUNCTIONAL[name](kwargs)
    except TypeError as error:
        raise UsageError(
            f"env.kwargs does not fit: {error}", where=f"environment func:{name}"
        ) from None
    return from_func_env(f"func:{name}", func, params, max_episode_steps or limit)


def from_func_env(id: str, func: Any, params: Any, limit: int) -> DeviceEnv:
    """A Gymnasium `FuncEnv` under our contract, with a time limit."""
    spec = EnvSpec(
        id,
        from_gymnasium(func.observation_space, id),
        from_gymnasium(func.action_space, id),
        limit,
    )

    def observe(state: Any, key: Array) -> Array:
        return jnp.asarray(func.observation(state, key, params), spec.obs.dtype)  # type: ignore[union-attr]

    def reset(key: Array) -> tuple[Any, Array]:
        with jax.numpy_dtype_promotion("standard"):
            state_key, obs_key = jax.random.split(key)
            state = func.initial(state_key, params)
            return (state, jnp.int32(0)), observe(state, obs_key)

    def step(key: Array, state: Any, action: Array) -> tuple[Any, Step]:
        with jax.numpy_dtype_promotion("standard"):
            inner, elapsed = state
            move, see, end, pay = jax.random.split(key, 4)
            action = jnp.asarray(action, jnp.float32)
            after = func.transition(inner, action, move, params)
            terminated = jnp.asarray(func.terminal(after, end, params), bool)
            reward = func.reward(inner, action, after, pay, params)
            return (after, elapsed + 1), Step(
                observe(after, see),
                jnp.asarray(reward, jnp.float32),
                terminated,
                elapsed + 1 >= limit,
            )

    return DeviceEnv(spec, reset, step, cuts_at_limit_only=True)
