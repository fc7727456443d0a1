"""A user's module with environments; tests name it with --env-module."""

from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from gymnasium.experimental.functional import FuncEnv


class Rooms(gymnasium.Env[Any, Any]):
    """Every kind of part in its observations and its actions."""

    def __init__(self, size: int = 4) -> None:
        self._size = size
        wheel = spaces.Dict(
            {"turn": spaces.Box(-1, 1, (2,)), "gear": spaces.MultiDiscrete([2, 3])}
        )
        self.observation_space = spaces.Tuple(
            [spaces.Discrete(size), wheel, spaces.MultiBinary(2)]
        )
        hand = spaces.Tuple(
            [spaces.Box(0, 0.1, (), np.float64), spaces.Discrete(2, start=-1)]
        )
        self.action_space = spaces.Dict(
            {"door": spaces.MultiDiscrete([2, 3], start=[0, 5]), "hand": hand}
        )
        self._step = 0

    def _obs(self) -> Any:
        gear, turn = np.array([1, 2]), np.float32([0.5, -0.5])
        return self._step % self._size, {"turn": turn, "gear": gear}, np.int8([0, 1])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._step = 0
        return self._obs(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if not self.action_space.contains(action):
            raise ValueError(f"{action!r} is not in {self.action_space}")
        self._step += 1
        return self._obs(), float(action["door"][0]), False, False, {}


class Lamps(gymnasium.Env[Any, Any]):
    """One number seen, in float64 and without axes; lamps to switch."""

    observation_space = spaces.Box(-1.0, 1.0, (), np.float64)
    action_space = spaces.MultiBinary([2, 2])

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._obs(), {}

    def _obs(self) -> np.ndarray:
        return np.array(self.np_random.uniform(-1, 1))

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if not self.action_space.contains(action):
            raise ValueError(f"{action!r} is not in {self.action_space}")
        return self._obs(), float(action.sum()), False, False, {}


class Params(NamedTuple):
    goal: float = 1.0


class Walk(FuncEnv[Any, Any, Any, Any, Any, Any, Any]):
    """A step of ±0.1 by indexing with the action, towards a goal."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,))
    action_space = spaces.Discrete(2)

    def __init__(self, stride: float = 0.1) -> None:
        super().__init__()
        self._stride = stride

    def get_default_params(self, **kwargs: Any) -> Params:
        return Params(**kwargs)

    def initial(self, rng: Any, params: Any = None) -> Any:
        return jax.random.normal(rng, (1,))

    def transition(self, state: Any, action: Any, rng: Any, params: Any = None) -> Any:
        return state + self._stride * jnp.array([-1.0, 1.0])[action]

    def observation(self, state: Any, rng: Any, params: Any = None) -> Any:
        return state

    def reward(
        self, state: Any, action: Any, next_state: Any, rng: Any, params: Any = None
    ) -> Any:
        return -jnp.abs(next_state[0] - params.goal)

    def terminal(self, state: Any, rng: Any, params: Any = None) -> Any:
        return jnp.abs(state[0]) > 3


class Limited(Walk):
    """It has a time limit of its own."""

    max_episode_steps = 7


class Branching(Limited):
    """An `if` on a value, which JAX cannot trace."""

    def terminal(self, state: Any, rng: Any, params: Any = None) -> Any:
        return bool(state[0] > 3)


made = Limited(stride=0.5)
