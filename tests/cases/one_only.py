"""A simulator of which a process can have one: evaluation makes a second beside it."""

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete


class OneOnly(gym.Env):
    observation_space = Box(-1, 1, (1,), np.float32)
    action_space = Discrete(2)
    running = 0

    def __init__(self):
        if OneOnly.running:
            raise RuntimeError("the simulator is already running in this process")
        OneOnly.running += 1

    def close(self):
        OneOnly.running -= 1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 1.0, False, False, {}


gym.register("OneOnly-v0", entry_point=OneOnly, max_episode_steps=20)
