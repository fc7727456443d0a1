"""Lives of games, and detection of lost ones."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pgcli.errors import UsageError

EVERYWHERE = slice(None)


class Lives:
    """Lives left in each of N environments, from `lives` of their info.

    Attributes:
      left: [N], -1 for an environment that has not reported them.
      counted: whether any environment has reported them.
    """

    def __init__(self, num_envs: int, env_id: str) -> None:
        self._env_id = env_id
        self.left = np.full(num_envs, -1, np.int64)
        self.counted = False

    def begin(self, info: Mapping[str, Any], at: int | slice = EVERYWHERE) -> None:
        """Stores the lives reported at the start of an episode."""
        left = self._reported(info, at)
        if left is not None:
            self.left[at] = left
            self.counted = True

    def put(self, left: np.ndarray | int, at: int | slice = EVERYWHERE) -> None:
        """Restores an earlier value of `left`."""
        self.left[at] = left
        self.counted = bool(np.any(self.left >= 0))

    def lost(self, info: Mapping[str, Any], at: int | slice = EVERYWHERE) -> Any:
        """Whether this step lost a life that was not the last.

        The last life does not count: some games continue for a few frames before they
        end. Raises a UsageError if the environment reports no lives.
        """
        left = self._reported(info, at)
        if left is None:
            given = f": `lives` is {info['lives']!r}" if "lives" in info else ""
            raise UsageError(
                f"{self._env_id} does not report how many lives are left{given}",
                help="set rollout.end_on_life_loss to false",
            )
        # fewer than before, but not 0
        lost = np.less(0, left) & np.less(left, self.left[at])
        self.left[at] = left
        return lost

    def _reported(self, info: Mapping[str, Any], at: int | slice) -> Any:
        """The lives in an info; None if they are missing, or not numbers."""
        left = info.get("lives")
        if left is None or left.__class__ is int:
            return left
        try:
            left = np.asarray(left)
        except ValueError:  # a list of arrays of several shapes
            return None
        one_each = left.shape in ((), np.shape(self.left[at]))
        return left if one_each and left.dtype.kind in "iu" else None
