"""Wrappers of a user's module."""

from typing import Any

import gymnasium
from gymnasium import spaces, wrappers


class Scaled(gymnasium.RewardWrapper[Any, Any]):
    """Multiplies rewards."""

    def __init__(self, env: Any, factor: float = 2.0) -> None:
        super().__init__(env)
        self._factor = factor

    def reward(self, reward: Any) -> Any:
        return self._factor * reward


class Counting(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Pays for places that were visited rarely, over all episodes."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self._visits: dict[str, int] = {}

    def step(self, action: Any) -> Any:
        obs, reward, *rest = self.env.step(action)
        place = f"{obs[0]:.2f}"
        self._visits[place] = self._visits.get(place, 0) + 1
        return obs, float(reward) + self._visits[place] ** -0.5, *rest


class Noop(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An episode begins with a step."""

    def reset(self, **options: Any) -> Any:
        self.env.reset(**options)
        obs, _, _, _, info = self.env.step(0)
        return obs, info


def first_half(env: Any) -> Any:
    """A wrapper made by a function."""
    low, high = env.observation_space.low[:2], env.observation_space.high[:2]
    space = spaces.Box(low, high)
    return wrappers.TransformObservation(env, _first_half, space)


def _first_half(obs: Any) -> Any:
    return obs[:2]


def nothing(env: Any) -> None:
    """Forgets to return the environment."""
