"""Values that are not finite only where actions repeat: in evaluation.

`Smooth-v0` pays 1/|change of the action|; `Jump-v0` pays −1/0 in the same way; in
`Ratio-v0` the observation is 0/0. Sampled actions never repeat, a deterministic
policy on a constant observation repeats at once.
"""

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box


class Smooth(gym.Env):
    observation_space = Box(-np.inf, np.inf, (1,), np.float32)
    action_space = Box(-100, 100, (1,), np.float32)
    sign = 1.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.before, self.t = 7.0, 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        change, self.before = np.abs(np.float64(action[0]) - self.before), action[0]
        self.t += 1
        with np.errstate(all="ignore"):
            return *self.outcome(change), self.t >= 20, False, {}

    def outcome(self, change):
        return np.zeros(1, np.float32), self.sign / change


class Jump(Smooth):
    sign = -1.0


class Mixed(Smooth):
    """Both infinities in one episode: their sum is NaN."""

    def outcome(self, change):
        return np.zeros(1, np.float32), (1.0 if self.t % 2 else -1.0) / change


class Ratio(Smooth):
    def outcome(self, change):
        return np.array([np.sin(change) / change], np.float32), 1.0


for cls in (Smooth, Jump, Mixed, Ratio):
    gym.register(f"{cls.__name__}-v0", entry_point=cls, max_episode_steps=50)
