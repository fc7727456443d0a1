"""Environments that are harmless, and once broke the capture of their state."""

import contextlib
import os
import threading
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete


class Base(gym.Env[np.ndarray, int]):
    """An observation of zeros; the reward is the action."""

    observation_space = Box(-1, 1, (1,), np.float32)
    action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> Any:
        return np.zeros(1, np.float32), float(action), False, False, {}


class Client:
    """A connection that is made later; `name` asks the server."""

    @property
    def name(self) -> str:
        raise ConnectionError("not connected yet")


class Remote(Base):
    """Has a property that raises."""

    def __init__(self) -> None:
        self.client = Client()


class Callback(Base):
    """A function that refers to a variable which is never set."""

    def __init__(self) -> None:
        def hook() -> Any:
            return late

        if not hook:
            late = 1
        self.hook = hook


class Link:
    next: Any


class Deep(Base):
    """Objects that refer to the next one, from the beginning."""

    def __init__(self, length: int = 400) -> None:
        self.chain = None
        for _ in range(length):
            link = Link()
            link.next = self.chain
            self.chain = link


class Node:
    def __init__(self, place: float, parent: Any) -> None:
        self.place, self.parent = place, parent


class Trail(Base):
    """Keeps the way it came as nodes with a parent, as a search tree does."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.root = self.node = Node(0.0, None)
        self.path: dict[str, Any] = {}
        return self._obs(), {}

    def _obs(self) -> np.ndarray:
        return np.array([self.node.place], np.float32)

    def step(self, action: int) -> Any:
        back = self.node.parent.place if self.node.parent else 0.0
        place = float(np.clip(self.node.place + 0.1 * action - back / 2, -1, 1))
        self.node = Node(place, self.node)
        self.path = {"before": self.path, "place": place}
        return self._obs(), place + len(self.path), False, False, {}


class Untouchable:
    """An object that raises whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise ConnectionError("not connected yet")


class Guarded(Base):
    """Holds an object that cannot be looked at."""

    def __init__(self) -> None:
        self.remote = Untouchable()


class Remade(gym.Env[np.ndarray, int]):
    """Makes its spaces again in every reset, as driving simulators do."""

    def __init__(self, opaque: bool = False) -> None:
        self.lock = threading.Lock() if opaque else contextlib.nullcontext()
        self._make_spaces()

    def _make_spaces(self) -> None:
        self.observation_space = Box(-1, 1, (1,), np.float32)
        self.action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._make_spaces()
        self.t = 0
        return self._obs(), {}

    def _obs(self) -> np.ndarray:
        return self.np_random.uniform(-1, 1, 1).astype(np.float32)

    def step(self, action: int) -> Any:
        self.t += 1
        return self._obs(), float(action), self.t >= 20, False, {}


class Wanderer(Base):
    """Changes the working directory."""

    def __init__(self, to: str) -> None:
        self.to = to

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        os.chdir(self.to)
        return super().reset(seed=seed)


def register() -> None:
    """Registers `cases/Remote-v0` and the others."""
    kinds = (Remote, Callback, Deep, Trail, Guarded, Remade, Wanderer)
    for kind in kinds:
        name = f"cases/{kind.__name__}-v0"
        if name not in gym.registry:
            gym.register(name, f"cases.capture:{kind.__name__}", max_episode_steps=2000)
