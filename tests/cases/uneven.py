"""Environments without a time limit that are hard to evaluate."""

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete


class Stuck(gym.Env):
    """Random actions end an episode at once; an action that repeats never does."""

    observation_space = Box(-1, 1, (1,), np.float32)
    action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.before = None
        return np.zeros(1, np.float32), {}

    def step(self, action):
        ended, self.before = self.before not in (None, action), action
        return np.zeros(1, np.float32), 1.0, ended, False, {}


class Counting(gym.Env):
    """Observes how often it was reset, whatever the seed."""

    observation_space = Box(0, 1000, (1,), np.float32)
    action_space = Discrete(2)
    made = 0

    def __init__(self):
        Counting.made += 1
        self.resets = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.resets += 1
        return np.full(1, self.resets, np.float32), {}

    def step(self, action):
        return np.full(1, self.resets, np.float32), 1.0, True, False, {}


gym.register("Stuck-v0", entry_point=Stuck)
gym.register("Counting-v0", entry_point=Counting, max_episode_steps=5)
