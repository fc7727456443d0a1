"""A task with compound actions and a known optimum, for the host and for the device.

A gear, a place and two switches are right or wrong together: a step pays
[gear right] · (1 − distance / 2) · (share of the switches that are right), so that the
best return is the number of steps.
"""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from gymnasium.experimental.functional import FuncEnv

STEPS = 8
BEST = float(STEPS)


def action_space() -> spaces.Dict:
    hand = spaces.Tuple([spaces.Box(-1, 1, (1,)), spaces.MultiBinary(2)])
    return spaces.Dict({"gear": spaces.Discrete(3, start=1), "hand": hand})


OBS = spaces.Box(-1, 1, (4,), np.float32)


def seen(xp: Any, gear: Any, place: Any) -> Any:
    """A one-hot gear, and the place."""
    one_hot = (xp.arange(1, 4) == gear).astype("float32")
    return xp.concatenate([one_hot, place])


def paid(xp: Any, gear: Any, place: Any, action: Any) -> Any:
    aim, switches = action["hand"]
    wanted = xp.stack([place[0] > 0, place[0] < 0.5])
    distance = xp.abs(aim[0] - place[0]) / 2
    return (action["gear"] == gear) * (1 - distance) * (switches == wanted).mean()


class Hybrid(gymnasium.Env[Any, Any]):
    """On the host; it takes nothing but actions of its space."""

    observation_space = OBS

    def __init__(self) -> None:
        self.action_space = action_space()

    def _next(self) -> Any:
        self.gear = int(self.np_random.integers(1, 4))
        self.place = self.np_random.uniform(-1, 1, 1).astype(np.float32)
        return seen(np, self.gear, self.place)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.elapsed = 0
        return self._next(), {}

    def step(self, action: Any) -> Any:
        if not self.action_space.contains(action):
            raise ValueError(f"{action!r} is not in {self.action_space}")
        reward = float(paid(np, self.gear, self.place, action))
        self.elapsed += 1
        return self._next(), reward, False, self.elapsed >= STEPS, {}


class HybridFunctional(FuncEnv[Any, Any, Any, Any, Any, Any, Any]):
    """On the device."""

    observation_space = OBS
    action_space = action_space()
    max_episode_steps = STEPS

    def initial(self, rng: Any, params: Any = None) -> Any:
        gear_key, place_key = jax.random.split(rng)
        return (
            jax.random.randint(gear_key, (), 1, 4),
            jax.random.uniform(place_key, (1,), minval=-1.0),
        )

    def transition(self, state: Any, action: Any, rng: Any, params: Any = None) -> Any:
        return self.initial(rng)

    def observation(self, state: Any, rng: Any, params: Any = None) -> Any:
        return seen(jnp, *state)

    def reward(
        self, state: Any, action: Any, next_state: Any, rng: Any, params: Any = None
    ) -> Any:
        aim, switches = action["hand"]
        assert isinstance(action["hand"], tuple)
        assert (action["gear"].dtype, aim.dtype, switches.dtype) == ("i4", "f4", "i1")
        return paid(jnp, *state, action)

    def terminal(self, state: Any, rng: Any, params: Any = None) -> Any:
        return jnp.array(False)


gymnasium.register("Hybrid-v0", Hybrid, max_episode_steps=STEPS)
