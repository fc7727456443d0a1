"""Gymnasium environments that do what a test says, step by step."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

TERMINATED, TRUNCATED, BOTH = "terminated", "truncated", "both"
Episode = tuple[int, str]


class Seen(NamedTuple):
    """One transition as the environment itself saw it."""

    obs: np.ndarray
    action: Any
    reward: float
    next_obs: np.ndarray
    terminated: bool
    truncated: bool

    @property
    def done(self) -> bool:
        return self.terminated or self.truncated


class Scripted(gymnasium.Env[np.ndarray, Any]):
    """Plays episodes of given lengths and ends, over and over, and keeps a record.

    The observation tells environment, episode and step apart, so that no value can be
    taken for another; observations and rewards do not depend on the action.
    """

    def __init__(
        self,
        episodes: Sequence[Episode] = ((3, TERMINATED), (2, TRUNCATED)),
        index: int = 0,
        action_space: spaces.Space[Any] | None = None,
    ) -> None:
        self.metadata = {"render_modes": []}  # SyncVectorEnv writes its mode into it
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = action_space or spaces.Discrete(3, start=5)
        self.seeds: list[int | None] = []
        self.record: list[Seen] = []
        self._episodes = episodes
        self._index = index
        self._episode = -1
        self._step = 0

    def _obs(self) -> np.ndarray:
        where = [np.sin(1 + self._index + 0.7 * self._episode), 0.3 * self._step]
        return np.array(where, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.seeds.append(seed)
        self._episode += 1
        self._step = 0
        return self._obs(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        if not self.action_space.contains(action):
            raise ValueError(f"the action {action} is not in {self.action_space}")
        length, end = self._episodes[self._episode % len(self._episodes)]
        if self._step >= length:
            raise RuntimeError("a step after the end of an episode")
        before = self._obs()
        self._step += 1
        reward = 1 + 0.1 * self._step + 0.01 * self._episode
        over = self._step == length
        terminated = over and end in (TERMINATED, BOTH)
        truncated = over and end in (TRUNCATED, BOTH)
        after = self._obs()
        self.record.append(Seen(before, action, reward, after, terminated, truncated))
        return after, reward, terminated, truncated, {}


class Lived(Scripted):
    """Has three lives, and loses one at given steps (counted from 1) of every episode.

    `truth` has the steps, over all episodes, that took a life and left others.
    """

    def __init__(self, losses: Sequence[int] = (), **scripted: Any) -> None:
        super().__init__(**scripted)
        self._losses = losses
        self._lives = 3
        self.truth: list[bool] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        obs, _ = super().reset(seed=seed)
        self._lives = 3
        return obs, {"lives": self._lives}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, _ = super().step(action)
        lost = self._losses.count(self._step)
        self._lives -= lost
        over = terminated or truncated
        self.truth.append(lost > 0 and self._lives > 0 and not over)
        return obs, reward, terminated, truncated, {"lives": self._lives}


class LikeALE(SyncVectorEnv):
    """Resets as ale_py's vector environment does, and says as little about it.

    In SAME_STEP, `final_obs` is one array that holds something in every row, without a
    mask and without `final_info`; seeds are an array.
    """

    def __init__(self, envs: Sequence[gymnasium.Env[Any, Any]]) -> None:
        makers = [partial(lambda env: env, env) for env in envs]
        super().__init__(makers, autoreset_mode=AutoresetMode.SAME_STEP)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        if isinstance(seed, np.ndarray):
            seed = seed.tolist()
        elif isinstance(seed, list):
            raise TypeError("Unsupported seed type")
        return super().reset(seed=seed, options=options)

    def step(self, actions: Any) -> Any:
        obs, reward, terminated, truncated, info = super().step(actions)
        final = info.get("final_obs", np.full(self.num_envs, None))
        rows = [
            np.full(2, 7, np.float32) if row is None else np.asarray(row)
            for row in final
        ]
        kept = {key: info[key] for key in ("lives",) if key in info}
        return obs, reward, terminated, truncated, kept | {"final_obs": np.stack(rows)}


class LikeEnvPool(SyncVectorEnv):
    """Resets as EnvPool does: a step later, on seeds from when it was made.

    Its observations are float64, and `final_obs` is not known to it.
    """

    def __init__(
        self, envs: Sequence[gymnasium.Env[Any, Any]], seeds: list[int]
    ) -> None:
        makers = [partial(lambda env: env, env) for env in envs]
        super().__init__(makers, autoreset_mode=AutoresetMode.NEXT_STEP)
        low, high = (
            self.single_observation_space.low,
            self.single_observation_space.high,
        )
        self.single_observation_space = spaces.Box(
            low.astype(np.float64), high.astype(np.float64), dtype=np.float64
        )
        self._given: list[int] | None = seeds

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        if seed is not None:
            raise ValueError("seeds are fixed when the environment is created")
        seed, self._given = self._given, None
        obs, info = super().reset(seed=seed)
        return obs.astype(np.float64), info

    def step(self, actions: Any) -> Any:
        obs, *rest = super().step(actions)
        return obs.astype(np.float64), *rest


class Faulty(Scripted):
    """Misbehaves in one way: in the reset or step of a number, counted from 0."""

    def __init__(
        self, fault: str = "", at: int = 0, only_index: int = 1, **scripted: Any
    ) -> None:
        super().__init__(**scripted)
        self._fault = fault if self._index == only_index else ""
        self._at = at
        self._resets = self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        obs, info = super().reset(seed=seed)
        if self._fault == "reset" and self._resets == self._at:
            raise ValueError("no more episodes")
        self._resets += 1
        return obs, info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = super().step(action)
        if self._steps == self._at:
            if self._fault == "step":
                raise KeyError("wheel")
            if self._fault == "reward":
                reward = float("nan")
            if self._fault == "obs":
                obs = np.array([0, np.inf], np.float32)
            if self._fault == "final_obs":
                obs, truncated = np.array([np.nan, 0], np.float32), True
        self._steps += 1
        return obs, reward, terminated, truncated, info
