"""On-device environments with values that are not finite."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from gymnasium.experimental.functional import FuncEnv


class Infinite(FuncEnv[Any, Any, Any, Any, Any, Any, Any]):
    """The reward is 1 / (20 − t), infinite at the 20th step."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = spaces.Discrete(2)
    max_episode_steps = 30

    def initial(self, rng: Any, params: Any = None) -> Any:
        return jnp.zeros(1)

    def transition(self, state: Any, action: Any, rng: Any, params: Any = None) -> Any:
        return state + 1

    def observation(self, state: Any, rng: Any, params: Any = None) -> Any:
        return state

    def reward(
        self, state: Any, action: Any, next_state: Any, rng: Any, params: Any = None
    ) -> Any:
        return 1 / (20 - next_state[0])

    def terminal(self, state: Any, rng: Any, params: Any = None) -> Any:
        return state[0] > 25
