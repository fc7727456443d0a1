"""Environments with action masks; an invalid action raises, or costs a lot."""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from gymnasium.experimental.functional import FuncEnv

ACTIONS: dict[str, spaces.Space[Any]] = {
    "choice": spaces.Discrete(4, start=1),
    "choices": spaces.MultiDiscrete([2, 3]),
    "bits": spaces.MultiBinary(3),
    "box": spaces.Box(-1, 1, (1,)),
    "tuple": spaces.Tuple([spaces.Box(-1, 1, (1,)), spaces.MultiDiscrete([2, 3])]),
}
SIZES = {
    "choice": [4],
    "choices": [2, 3],
    "bits": [2, 2, 2],
    "box": [2],
    "tuple": [2, 3],
}
FLOATS = spaces.Box(-1, 1, (2,))
FAULTS: dict[str, Any] = {
    "none": np.zeros(4, np.int8),
    "values": np.int8([2, 1, 0, 0]),
    "shape": np.ones(5, np.int8),
    "text": "all",
}
"""Masks that are wrong for a `choice`."""


class Masked(gymnasium.Env[Any, Any]):
    """Random masks; the reward is 1 for the first valid action of each component.

    Args:
      source: where the masks are: `info`, `key` or `method`.
      actions: a key of `ACTIONS`.
      fault: a key of `FAULTS`, `missing`, or `` for none; it occurs in step 3.
      empty_end: whether the mask at the end of an episode is all 0.
      harmless: whether an invalid action is like any other.
    """

    def __init__(
        self,
        source: str = "info",
        actions: str = "choice",
        fault: str = "",
        empty_end: bool = True,
        harmless: bool = False,
    ) -> None:
        self._source, self._fault, self._empty_end = source, fault, empty_end
        self._harmless = harmless
        self._sizes, self._is_tuple = SIZES[actions], actions == "tuple"
        self.action_space = ACTIONS[actions]
        self.observation_space = FLOATS
        if source == "key":
            masks = [spaces.MultiBinary(size) for size in self._sizes]
            mask: Any = masks[0] if len(masks) == 1 else spaces.Tuple(masks)
            mask = spaces.Tuple([FLOATS, mask]) if self._is_tuple else mask
            parts = {"observation": FLOATS, "action_mask": mask}
            self.observation_space = spaces.Dict(parts)
        if source == "method":
            self.action_masks = lambda: np.concatenate(self._masks).astype(bool)
        self._steps = 0

    def _returned(self, over: bool = False) -> tuple[Any, dict[str, Any]]:
        # at least one valid value for each component
        drawn = [self.np_random.random(size) for size in self._sizes]
        self._masks = [np.int8((x > 0.6) | (x == x.max())) for x in drawn]
        given: Any = self._masks
        if over and self._empty_end:
            given = [0 * mask for mask in given]
        given = given[0] if len(given) == 1 else tuple(given)
        if self._is_tuple:  # nothing for the Box
            given = None, given
        if self._fault and self._steps == 3:
            given = FAULTS.get(self._fault)
        obs = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        if self._source == "key":
            return {"observation": obs, "action_mask": given}, {}
        has = self._source == "info" and given is not None
        return obs, {"action_mask": given} if has else {}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._steps = 0
        return self._returned()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        action = action[1] if self._is_tuple else action
        first = getattr(self.action_space, "start", 0)
        values = np.reshape(action - first, -1)
        pairs = list(zip(self._masks, values, strict=True))
        if not self._harmless and not all(mask[value] for mask, value in pairs):
            raise ValueError(f"{action} is not valid: {self._masks}")
        self._steps += 1
        reward = float(all(mask.argmax() == value for mask, value in pairs))
        over = self._steps == 8
        obs, info = self._returned(over)
        return obs, reward, over, False, info


class MaskedFunc(FuncEnv[Any, Any, Any, Any, Any, Any, Any]):
    """The same on the device, where an invalid action costs 1,000."""

    observation_space: spaces.Space[Any] = spaces.Dict(
        {"place": spaces.Box(0, 1, (4,)), "action_mask": spaces.MultiBinary(4)}
    )
    action_space: spaces.Space[Any] = spaces.Discrete(4)
    max_episode_steps = 8
    faulty = False

    def initial(self, rng: Any, params: Any = None) -> Any:
        return self._drawn(rng, jnp.int32(0))

    def _drawn(self, rng: Any, steps: Any) -> Any:
        drawn = jax.random.uniform(rng, (4,))
        mask = (drawn > 0.6) | (drawn == drawn.max())
        if self.faulty:
            mask &= steps < 3
        return {"drawn": drawn, "mask": mask, "steps": steps}

    def transition(self, state: Any, action: Any, rng: Any, params: Any = None) -> Any:
        return self._drawn(rng, state["steps"] + 1)

    def observation(self, state: Any, rng: Any, params: Any = None) -> Any:
        # the mask of an episode that is cut off is empty, as is that of one that ends
        over = state["steps"] >= 6
        return {"place": state["drawn"], "action_mask": state["mask"] & ~over}

    def reward(self, state: Any, action: Any, *more: Any) -> Any:
        valid = state["mask"][action]
        return jnp.where(valid, state["mask"].argmax() == action, -1000.0)

    def terminal(self, state: Any, rng: Any, params: Any = None) -> Any:
        return state["steps"] >= 6


class FaultyFunc(MaskedFunc):
    """After three steps no action is valid."""

    faulty = True


gymnasium.register("Masked-v0", entry_point=Masked, max_episode_steps=5)
