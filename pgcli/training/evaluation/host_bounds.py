"""Observations outside of their bounds in an evaluation on the host."""

from typing import Any

import jax
import numpy as np

from pgcli.envs.base import ObsSpace
from pgcli.envs.obs_trees import empty_obs, rows, set_rows
from pgcli.rollout.bounds import bounded, merged
from pgcli.rollout.host_value_check import Finals, check_bounds

BLOCK_STEPS, BLOCK_BYTES = 64, 2**22
"""Largest number of steps, and about the size, of observations checked together."""


class Strays:
    """Checks the observations of an evaluation in blocks of steps."""

    def __init__(self, space: ObsSpace, num_envs: int) -> None:
        self._space, self._num_envs, self._parts = space, num_envs, bounded(space)
        self._finals: Finals = []
        self._found: list[np.ndarray] = []
        self._lengths: list[int] = []
        self._steps = self._filled = 0
        if self._parts:
            step = sum(x.nbytes for x in jax.tree.leaves(empty_obs(space, (num_envs,))))
            self._size = min(max(BLOCK_BYTES // step, 1), BLOCK_STEPS)
            self._block = empty_obs(space, (self._size, num_envs))

    def look(self, obs: Any, finals: Finals) -> None:
        """Adds the observations [N, …] and the final ones of one step."""
        if self._parts:
            set_rows(self._block, self._filled, obs)
            self._finals += finals
            self._filled += 1
            if self._filled == self._size:
                self._check()

    def _check(self) -> None:
        """Checks the block, and begins another one."""
        ones = np.ones((self._filled, self._num_envs))
        obs = rows(self._block, slice(self._filled))
        found = check_bounds(self._space, self._parts, obs, ones, self._finals)
        if found is not None:
            self._found.append(found)
            self._lengths.append(self._filled)
        self._steps += self._filled
        self._finals, self._filled = [], 0

    def found(self) -> np.ndarray | None:
        """The result for all steps, as from `bounds.merged`."""
        if self._filled:
            self._check()
        return merged(self._found, self._lengths, self._steps)
