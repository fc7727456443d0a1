"""An environment that counts itself in a file."""

import os
import tempfile

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

MADE = os.path.join(tempfile.gettempdir(), "slow_start.made")


class Slow(gym.Env):
    observation_space = Box(-1, 1, (1,), np.float32)
    action_space = Discrete(2)

    def __init__(self):
        with open(MADE, "a") as file:
            file.write(f"{os.getpid()}\n")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), float(action), False, False, {}


gym.register("Slow-v0", entry_point=f"{__name__}:Slow", max_episode_steps=20)
