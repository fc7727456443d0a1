"""An environment whose module gives `InProcess` methods, wherever it is imported.

They stand for whatever a caller wants of the lanes between two steps.
"""

from typing import Any

import numpy as np
from support.failing_env import Bad

from pgcli.envs.host.in_process import InProcess


def take(self: InProcess) -> list[dict[str, Any]]:
    return [
        {"row": n, "steps": np.array([env.unwrapped._steps]), "at": (n, None)}
        for n, env in zip(self.rows, self._envs, strict=True)
    ]


def give(self: InProcess, items: list[int]) -> None:
    for env, item in zip(self._envs, items, strict=True):
        if item < 0:
            raise ValueError(f"{item} steps")
        env.unwrapped._steps = item


def count(self: InProcess, items: list[np.ndarray] | None = None) -> list[int]:
    if items is not None:
        self.counted = [item.size for item in items]  # type: ignore[attr-defined]
    return list(self.counted)  # type: ignore[attr-defined]


class Asked(Bad):
    """Counts its steps."""


InProcess.take = take  # type: ignore[attr-defined]
InProcess.give = give  # type: ignore[attr-defined]
InProcess.count = count  # type: ignore[attr-defined]
