"""Episodes of 1,000,000 steps that pay 0.1 each: the return is 100,000."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

ID = "LongSum-v0"


class LongSum(gym.Env[Any, Any]):
    observation_space = Box(-1, 1, (1,), np.float32)
    action_space = Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros(1, np.float32), 0.1, False, False, {}


gym.register(ID, LongSum, max_episode_steps=1_000_000)
