"""An environment whose space and fault a test chooses: values, dtypes, shapes, API."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

from pgcli.envs.spaces import by_part

FLOATS = spaces.Box(-1, 1, (2,), np.float32)
OBS: dict[str, tuple[spaces.Space[Any], Any]] = {
    "floats": (FLOATS, np.zeros(2, np.float32)),
    "bytes": (spaces.Box(0, 255, (2,), np.uint8), np.zeros(2, np.uint8)),
    "integers": (spaces.Box(0, 2**40, (2,), np.int64), np.array([0, 2**32])),
    "discrete": (spaces.Discrete(3, start=1), 3),
    "choices": (spaces.MultiDiscrete([3, 4]), np.array([2, 3])),
    "bits": (spaces.MultiBinary(2), np.array([0, 1], np.int8)),
    "parts": (
        spaces.Dict({"a": FLOATS, "b": spaces.Discrete(2)}),
        {"a": np.zeros(2, np.float32), "b": 1},
    ),
}
"""Name -> (space, an observation in it)."""

nan = np.array([0, np.nan], np.float32)
BAD_OBS: dict[str, dict[str, tuple[Any, str]]] = {
    "floats": {
        "outside": (np.float32([0, 100]), "100 is not in [-1, 1]"),
        "dtype": (np.zeros(2, complex), "has the dtype complex128"),
        "shape": (np.zeros(1, np.float32), "has the shape (1,), not (2,)"),
        "finite": (nan, "is not finite"),
    },
    "bytes": {
        "outside": (np.array([300, -1]), "is 300 at [0], which uint8 cannot hold"),
        "dtype": (np.zeros(2), "has the dtype float64, not uint8"),
        "shape": (np.zeros((2, 2), np.uint8), "has the shape (2, 2), not (2,)"),
        "finite": (nan, "has the dtype float32, not uint8"),
    },
    "integers": {
        "outside": (np.array([0, 2**41]), "2.19902e+12 is not in [0, 1.09951e+12]"),
        "dtype": (np.array(["0", "1"]), "has the dtype <U1"),
        "shape": (np.zeros((), np.int64), "has the shape (), not (2,)"),
        "finite": (nan, "is not finite"),
    },
    "discrete": {
        "outside": (4, "is 4, outside its space (1 to 3)"),
        "dtype": (1.5, "has the dtype float64"),
        "shape": (np.array([2]), "has the shape (1,), not ()"),
        "finite": (np.nan, "has the dtype float64"),
    },
    "choices": {
        "outside": (np.array([2, 2**32]), "is 4294967296 at [1], outside its space"),
        "dtype": (np.zeros(2), "has the dtype float64"),
        "shape": (np.zeros(3, int), "has the shape (3,), not (2,)"),
        "finite": (nan, "has the dtype float32"),
    },
    "bits": {
        "outside": (np.array([256, 0]), "is 256 at [0], outside its space (0 to 1)"),
        "dtype": (np.zeros(2), "has the dtype float64"),
        "shape": (np.zeros(1, np.int8), "has the shape (1,), not (2,)"),
        "finite": (nan, "has the dtype float32"),
    },
    "parts": {
        "outside": ({"a": nan * 0, "b": 2}, "['b'] is 2, outside its space (0 to 1)"),
        "dtype": (
            {"a": np.zeros(2, complex), "b": 1},
            "['a'] has the dtype complex128",
        ),
        "shape": ({"a": np.zeros(2)}, "has the keys a; its space has a, b"),
        "finite": (
            {"a": nan, "b": 1},
            "observation['a'] of environment 1 is not finite",
        ),
    },
}
"""Name of a space -> fault -> (observation, part of the message)."""
BAD_OBS["parts"]["outside"][0]["a"] = np.zeros(2, np.float32)

ACTIONS: dict[str, spaces.Space[Any]] = {
    "half": spaces.Box(-1, 1, (2,), np.float16),
    "double": spaces.Box(0.1, 0.3, (2,), np.float64),
    "scalar": spaces.Box(-1, 1, ()),
    "discrete": spaces.Discrete(3, start=-1),
    "choices": spaces.MultiDiscrete([3, 3], dtype=np.int8),
    "bits": spaces.MultiBinary((2, 2)),
    "parts": spaces.Dict(
        {
            "b": spaces.Tuple([spaces.Box(-1, 1, ()), spaces.Discrete(3, start=-1)]),
            "a": spaces.Box(-1, 1, (2, 2), np.float64),
        }
    ),
}

BAD_RETURN: dict[str, tuple[Any, str, str]] = {
    "text": (
        {"reward": "1.0"},
        "reward of environment 1 is '1.0', not a number",
        "float(",
    ),
    "none": (
        {"reward": None},
        "reward of environment 1 is None, not a number",
        "float(",
    ),
    "array": ({"reward": np.ones(1)}, "has the shape (1,), not ()", "reward[0]"),
    "several": ({"reward": np.ones(2)}, "has the shape (2,), not ()", "LinearReward"),
    "flag": (
        {"terminated": np.array([True])},
        "is array([ True]), not a bool",
        "bool(",
    ),
    "cut": ({"truncated": None}, "flag `truncated` of environment 1 is None", "bool("),
    "info": (
        {"info": None},
        "info of environment 1 is None, not a dict",
        "return `{}`",
    ),
}
"""Fault of a step -> (changed values, part of the message, part of the help)."""


class Odd(gymnasium.Env[Any, Any]):
    """Counts steps; misbehaves from step `at` on where it was seeded with an even seed.

    It refuses actions that are not as from `sample`.
    """

    at = 2

    def __init__(
        self, obs: str = "floats", action: str = "discrete", fault: str = ""
    ) -> None:
        self.observation_space, self._good = OBS[obs]
        self.action_space = ACTIONS[action]
        self._fault, self._kind = fault, obs
        if (obs, fault) == ("integers", "finite"):  # a dtype may not change
            self._good = np.zeros(2, np.float32)
        self._odd = False

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        if seed is not None:
            self._odd = seed % 2 == 0
        self._step = 0
        return self._good, {}

    def step(self, action: Any) -> Any:
        sample = self.action_space.sample()
        assert self.action_space.contains(action)
        pairs = zip(by_part(action).values(), by_part(sample).values(), strict=True)
        for taken, drawn in ((action, sample), *pairs):
            assert type(taken) is type(drawn)
            assert getattr(taken, "dtype", None) == getattr(drawn, "dtype", None)
        self._step += 1
        returned = {
            "obs": self._good,
            "reward": 1.0,
            "terminated": False,
            "truncated": False,
            "info": {},
        }
        if self._odd and self._step >= self.at:
            if self._fault in BAD_RETURN:
                returned |= BAD_RETURN[self._fault][0]
            elif self._fault:
                returned["obs"] = BAD_OBS[self._kind][self._fault][0]
        return tuple(returned.values())


class OddVector(VectorEnv[Any, Any, Any]):
    """Two of them, vectorised natively: a fault spoils the batch."""

    num_envs = 2

    def __init__(self, obs: str, fault: str) -> None:
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.single_observation_space, self._good = OBS[obs]
        self.single_action_space = ACTIONS["discrete"]
        self.observation_space, self.action_space = FLOATS, spaces.MultiDiscrete([3, 3])
        self._bad = BAD_OBS[obs][fault][0]
        self._step = 0

    def _both(self, second: Any) -> Any:
        if isinstance(second, dict):
            return {key: np.stack([x, x]) for key, x in second.items()}
        return np.stack([second, second])

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return self._both(self._good), {}

    def step(self, actions: Any) -> Any:
        self._step += 1
        obs = self._both(self._good if self._step < Odd.at else self._bad)
        none = np.zeros(2, bool)
        return obs, np.ones(2), none, none, {}


class OldStep(Odd):
    """Four values, as in Gym before 0.26."""

    def step(self, action: Any) -> Any:
        obs, reward, terminated, truncated, info = super().step(action)
        return obs, reward, terminated or truncated, info


class OldReset(Odd):
    """The observation alone."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=seed)[0]


class NoSeed(Odd):
    """A reset without a seed."""

    def reset(self) -> Any:  # type: ignore[override]
        return super().reset()


class Lives(Odd):
    """Reports lives that are no number."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=seed)[0], {"lives": [3, 2]}

    def step(self, action: Any) -> Any:
        return (*super().step(action)[:4], {"lives": "many"})


class Light(Odd):
    """Pays for repeating a light of 2**32 or 0, as int64 or float64."""

    def __init__(self, dtype: str = "int64") -> None:
        super().__init__()
        self.observation_space = spaces.Box(0, 2**40, (1,), np.dtype(dtype).type)
        self.action_space = spaces.Discrete(2)

    def _obs(self) -> Any:
        self._on = int(self.np_random.integers(2))
        return np.array([self._on * 2**32], self.observation_space.dtype)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self._obs(), {}

    def step(self, action: Any) -> Any:
        return self._obs(), float(action == self._on), False, False, {}


gymnasium.register("Light-v0", "cases.spaces:Light", max_episode_steps=5)
gymnasium.register("Odd-v0", "cases.spaces:Odd", max_episode_steps=50)
for old in ("OldStep", "OldReset", "NoSeed"):
    gymnasium.register(f"{old}-v0", f"cases.spaces:{old}", max_episode_steps=50)
