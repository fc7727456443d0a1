"""On the device: 1/0 only where an action repeats, in a deterministic evaluation."""

import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from gymnasium.experimental.functional import FuncEnv


class NanEval(FuncEnv):
    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-100, 100, (1,), np.float32)
    max_episode_steps = 30

    def initial(self, rng, params=None):
        return jnp.array([7.0, 0.0])

    def transition(self, state, action, rng, params=None):
        return jnp.array([action[0], state[1] + 1])

    def observation(self, state, rng, params=None):
        return jnp.zeros(2)

    def reward(self, state, action, next_state, rng, params=None):
        return 1 / jnp.abs(action[0] - state[0])

    def terminal(self, state, rng, params=None):
        return state[1] > 20


class NanObs(NanEval):
    """Observes sin(x)/x of the change x of the action instead."""

    def initial(self, rng, params=None):
        return jnp.array([7.0, 0.0, 1.0])

    def transition(self, state, action, rng, params=None):
        return jnp.array([action[0], state[1] + 1, action[0] - state[0]])

    def observation(self, state, rng, params=None):
        return jnp.array([0.0, jnp.sin(state[2]) / state[2]])

    def reward(self, state, action, next_state, rng, params=None):
        return jnp.float32(1)


class Same(NanEval):
    """All of its episodes are the same."""

    def reward(self, state, action, next_state, rng, params=None):
        return jnp.float32(1)
