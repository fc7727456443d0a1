"""Episodes of 1 or 100 steps with equal probability, reward 1 a step.

Nothing depends on the actions: mean return and mean length are 50.5.
"""

from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.experimental.functional import FuncEnv
from gymnasium.spaces import Box, Discrete

ID = "OneOrHundred-v0"


class OneOrHundred(gym.Env[Any, Any]):
    observation_space = Box(-1, 1, (1,), np.float32)
    action_space = Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.length = 1 if self.np_random.random() < 0.5 else 100
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.t += 1
        return np.zeros(1, np.float32), 1.0, self.t >= self.length, False, {}


class OneOrHundredFunc(FuncEnv):  # type: ignore[type-arg]
    """The state is the number of steps left."""

    observation_space = Box(-1, 1, (1,), np.float32)
    action_space = Discrete(2)
    max_episode_steps = 200

    def initial(self, rng: Any, params: Any = None) -> Any:
        return jnp.where(jax.random.uniform(rng) < 0.5, 1, 100)

    def transition(self, state: Any, action: Any, rng: Any, params: Any = None) -> Any:
        return state - 1

    def observation(self, state: Any, rng: Any, params: Any = None) -> Any:
        return jnp.zeros(1)

    def reward(
        self, state: Any, action: Any, next_state: Any, rng: Any, params: Any = None
    ) -> Any:
        return jnp.float32(1)

    def terminal(self, state: Any, rng: Any, params: Any = None) -> Any:
        return state <= 0


gym.register(ID, OneOrHundred, max_episode_steps=200)
