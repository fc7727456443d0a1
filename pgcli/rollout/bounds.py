"""Observations outside of the bounds of a Box: a warning, once per run.

Environments leave their own bounds by a rounding or on purpose, so the values are used.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pgcli.envs.base import Box, ObsSpace

COLUMNS = ("share", "value", "low", "high")
"""Columns of a row of `outside`."""


def bounded(space: ObsSpace) -> dict[str, Box]:
    """The Boxes with values that their dtype can hold and their bounds exclude."""
    parts = space if isinstance(space, Mapping) else {"": space}
    return {
        name: part
        for name, part in parts.items()
        if isinstance(part, Box) and _excludes(part)
    }


def _excludes(part: Box) -> bool:
    low, high = part.bounds()
    if part.dtype == "bool":
        return False
    if part.dtype == "float32":
        return bool((low > -np.inf).any() or (high < np.inf).any())
    info = np.iinfo(part.dtype)
    return bool((low > info.min).any() or (high < info.max).any())


def outside(space: ObsSpace, obs: Any, weight: Any, num_steps: Any, xp: Any) -> Any:
    """For each of `bounded`: (share of steps outside, worst value, its bounds): [P, 4].

    Only reductions, so that devices need not exchange observations.

    Args:
      space: the space of an observation.
      obs: observations [*B, …].
      weight: [*B], 0 for observations to leave out.
      num_steps: number of steps that they belong to.
      xp: `numpy` or `jax.numpy`.
    """
    rows = []
    for name, part in bounded(space).items():
        x = xp.asarray(obs[name] if name else obs, "float32")
        x = x.reshape(*weight.shape, -1)  # [*B, D]
        low, high = (
            xp.asarray(bound).reshape(*(1,) * weight.ndim, -1)
            for bound in flat_bounds(part)
        )
        # distance beyond the nearer bound, positive outside
        excess = xp.maximum(low - x, x - high)
        excess = xp.where(weight[..., None] > 0, excess, -1.0)
        share = (excess.max(axis=-1) > 0).sum().astype("float32") / num_steps
        # the value with the largest distance, and its bounds
        is_worst = excess == excess.max()
        row = [xp.where(is_worst, y, -np.inf).max() for y in (x, low, high)]
        rows.append(xp.stack([share, *row]))
    return xp.stack(rows) if rows else xp.zeros((0, len(COLUMNS)), "float32")


def flat_bounds(part: Box) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) of each element as float32: [D]."""
    low, high = (
        np.broadcast_to(np.float32(bound), part.shape).reshape(-1)
        for bound in part.bounds()
    )
    return low, high


def merged(found: Any, steps: Any, total: float | int) -> np.ndarray | None:
    """The result of `outside` for all steps, from those of parts; None without parts.

    Args:
      found: result of each part: [K, P, 4].
      steps: number of steps of each part: [K].
      total: number of all steps, also of those without an observation outside.
    """
    if not len(found):
        return None
    each: np.ndarray = np.asarray(found)
    share, value, low, high = np.moveaxis(each, -1, 0)  # [K, P]
    distance = np.where(share > 0, np.maximum(low - value, value - high), -np.inf)
    rows: np.ndarray = each[distance.argmax(axis=0), np.arange(each.shape[1])]
    rows[:, 0] = np.asarray(steps) @ share / total
    return rows


class BoundsWarning:
    """The warning of a run, which is given once."""

    def __init__(self, space: ObsSpace) -> None:
        """A warning for observations of a space."""
        self._parts = list(bounded(space))
        self.given = not self._parts

    def news(self, found: np.ndarray | None, iteration: int | None) -> list[str]:
        """The warning as one text, if it is due.

        Args:
          found: result of `outside`; None if there is none.
          iteration: number of the iteration; None for an evaluation.
        """
        when = "the evaluation" if iteration is None else f"iteration {iteration}"
        words = self.text(found, when)
        return ["; ".join(pair) for pair in words]

    def text(self, found: np.ndarray | None, when: str) -> list[tuple[str, str]]:
        """[(warning, remedy)] if the warning is due, else [].

        Args:
          found: result of `outside`; None if there is none.
          when: what it is of, such as `iteration 2`.
        """
        if self.given or found is None or not (found[:, 0] > 0).any():
            return []
        self.given = True
        part = int(found[:, 0].argmax())
        share, value, low, high = (float(x) for x in found[part])
        name = self._parts[part] and f" `{self._parts[part]}`"
        return [
            (
                f"observations{name} leave their space: {value:g} is not in [{low:g}, "
                f"{high:g}], in {100 * min(share, 1):.3g} % of the steps of {when}",
                "they are used as they are: correct observation_space, or clip the "
                "observation",
            )
        ]
