"""Lives that a game counts, and where one is lost."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pgcli.errors import UsageError

EVERYWHERE = slice(None)


class Lives:
    """How many lives are left in each of N environments, by their own `lives`.

    Attributes:
      left: [N], -1 where an environment has not said it.
      counted: whether one has.
    """

    def __init__(self, num_envs: int, env_id: str) -> None:
        """Nothing is known before an environment has said it."""
        self._env_id = env_id
        self.left = np.full(num_envs, -1, np.int64)
        self.counted = False

    def begin(self, info: Mapping[str, Any], at: int | slice = EVERYWHERE) -> None:
        """Takes what an environment says at the start of an episode."""
        left = info.get("lives")
        if left is not None:
            self.left[at] = left
            self.counted = True

    def put(self, left: np.ndarray | int, at: int | slice = EVERYWHERE) -> None:
        """Takes what `left` once was."""
        self.left[at] = left
        self.counted = bool(np.any(self.left >= 0))

    def lost(self, info: Mapping[str, Any], at: int | slice = EVERYWHERE) -> Any:
        """Where this step took a life and left others.

        None left is no loss to note: some games go on for a few frames until they are
        over.

        Raises:
          UsageError: the environment counts none.
        """
        left = info.get("lives")
        if left is None:
            raise UsageError(
                f"{self._env_id} does not say how many lives are left",
                help="set rollout.end_on_life_loss to false",
            )
        lost = np.less(0, left) & np.less(left, self.left[at])
        self.left[at] = left
        return lost
