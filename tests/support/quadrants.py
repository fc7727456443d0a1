"""A task that takes an image and a vector together; tests name it as a module.

The image has one bright pixel in a quadrant q, the vector the sign of a shift s of 0
or 1; the right one of four actions is (q + s) mod 4, for a reward of 1. Every step is
drawn afresh, 8 to an episode: the best return is 8, that of the image alone 4, and that
of chance 2.
"""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from gymnasium.experimental.functional import FuncEnv

STEPS = 8


def space_of(size: int) -> spaces.Dict:
    """An image of size × size bytes, and two numbers, of which one says nothing."""
    image = spaces.Box(0, 255, (size, size, 1), np.uint8)
    return spaces.Dict({"image": image, "sign": spaces.Box(-1, 1, (2,), np.float32)})


def observation(xp: Any, size: int, draw: Any) -> dict[str, Any]:
    """The observation of (row, column, shift) drawn in [0, 1)."""
    row, column = (xp.asarray(draw[i] * size, xp.int32) for i in (0, 1))
    at = xp.arange(size)
    lit = (at.reshape(-1, 1) == row) & (at.reshape(1, -1) == column)
    sign = xp.where(draw[2] < 0.5, -1.0, 1.0)
    return {
        "image": xp.where(lit, 255, 0).astype(xp.uint8).reshape(size, size, 1),
        "sign": xp.stack([sign, xp.zeros_like(sign)]).astype(xp.float32),
    }


def right_action(xp: Any, draw: Any) -> Any:
    """(q + s) mod 4."""
    row, column, shift = (xp.asarray(draw[i] >= 0.5, xp.int32) for i in range(3))
    return (2 * row + column + shift) % 4


class Quadrants(FuncEnv[Any, Any, Any, Any, Any, Any, Any]):
    """The task on the device."""

    action_space = spaces.Discrete(4)
    max_episode_steps = STEPS

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self._size = size
        self.observation_space = space_of(size)

    def initial(self, rng: Any, params: Any = None) -> Any:
        return jax.random.uniform(rng, (3,))

    def transition(self, state: Any, action: Any, rng: Any, params: Any = None) -> Any:
        return jax.random.uniform(rng, (3,))

    def observation(self, state: Any, rng: Any, params: Any = None) -> Any:
        return observation(jnp, self._size, state)

    def reward(
        self, state: Any, action: Any, next_state: Any, rng: Any, params: Any = None
    ) -> Any:
        return (action == right_action(jnp, state)).astype(jnp.float32)

    def terminal(self, state: Any, rng: Any, params: Any = None) -> Any:
        return jnp.bool_(False)


class HostQuadrants(gymnasium.Env[Any, Any]):
    """The task on the host."""

    action_space = spaces.Discrete(4)

    def __init__(self, size: int = 8) -> None:
        self._size = size
        self.observation_space = space_of(size)

    def _next(self) -> Any:
        self._draw = self.np_random.random(3)
        return observation(np, self._size, self._draw)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self._next(), {}

    def step(self, action: Any) -> Any:
        reward = float(action == right_action(np, self._draw))
        return self._next(), reward, False, False, {}


gymnasium.register("Quadrants-v0", HostQuadrants, max_episode_steps=STEPS)
