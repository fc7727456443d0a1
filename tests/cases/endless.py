"""An environment that never ends and was registered without a time limit."""

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete


class Endless(gym.Env):
    observation_space = Box(-1, 1, (1,), np.float32)
    action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 1.0, False, False, {}


gym.register("Endless-v0", entry_point=f"{__name__}:Endless")
