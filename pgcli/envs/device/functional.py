"""On-device environments from Gymnasium's functional API (prefix `func:`).

Gymnasium ships CartPole and Pendulum as pure JAX functions. They are used directly,
without their vector wrapper, with three corrections (for version 1.3.0): CartPole's
`polemass_length` is mass *times* length, 0.05; actions are floats, since the dynamics
compare them with 0.5; and the time limits of the registered ids apply, 500 and 200.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pgcli.arrays.shared import shared
from pgcli.envs.base import DeviceEnv
from pgcli.envs.device import user_functional


def _cartpole(kwargs: Mapping[str, Any]) -> tuple[Any, Any, int]:
    from gymnasium.envs.phys2d.cartpole import CartPoleFunctional, CartPoleParams

    given = {"polemass_length": 0.05, **kwargs}
    return CartPoleFunctional(), CartPoleParams(**given), 500


def _pendulum(kwargs: Mapping[str, Any]) -> tuple[Any, Any, int]:
    from gymnasium.envs.phys2d.pendulum import PendulumFunctional, PendulumParams

    return PendulumFunctional(), PendulumParams(**kwargs), 200


NAMES: dict[str, Callable[[Mapping[str, Any]], tuple[Any, Any, int]]] = {
    "CartPole-v1": _cartpole,
    "Pendulum-v1": _pendulum,
}
"""The built-in ones; all others come from user modules."""


def make(
    name: str, kwargs: Mapping[str, Any], max_episode_steps: int | None
) -> DeviceEnv:
    """The environment `func:NAME`, by default with the time limit of the registered id.

    `kwargs` replace the physical constants; a UsageError for unknown ones.
    """
    if name not in NAMES:
        return user_functional.make_users(name, kwargs, max_episode_steps)
    return shared(_make, name, tuple(sorted(kwargs.items())), max_episode_steps)


def _make(
    name: str, constants: tuple[tuple[str, Any], ...], max_episode_steps: int | None
) -> DeviceEnv:
    from pgcli.envs.device.adapter_support import unknown_kwargs  # imports JAX
    from pgcli.envs.device.func_env import from_func_env

    kwargs = dict(constants)
    try:
        func, params, limit = NAMES[name](kwargs)
    except TypeError as error:
        raise unknown_kwargs(f"func:{name}", error) from None
    limit = max_episode_steps or limit
    return from_func_env(f"func:{name}", func, params, limit, "float32")
