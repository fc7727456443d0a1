"""Training curves from `metrics.jsonl`, on a common grid of steps."""

import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pgcli.errors import UsageError

GRID = 201
"""Number of grid points from step 0 to the budget, both included."""

MIN_EPISODES = 100
"""Episodes that a mean return must cover to count as reaching a threshold."""


class Curve(NamedTuple):
    """The training curve of one run.

    Attributes:
      steps: environment steps at the rows that have a return, increasing.
      returns: mean unscaled return of the last 100 training episodes at these steps.
      episodes: number of finished episodes at these steps.
      kl: KL(π_old‖π) of an update in nats, mean over the updates; NaN if never logged.
      ess: effective sample size of an update in (0, 1], mean over the updates.
    """

    steps: np.ndarray
    returns: np.ndarray
    episodes: np.ndarray
    kl: float
    ess: float


def read_curve(metrics: Path, member: int | None = None) -> Curve:
    """The curve of a run or a member; a UsageError if no episode ended in the run."""
    rows = []
    for line in metrics.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:  # an incomplete line: the process was killed
            continue
    rows = [row for row in rows if row.get("member") == member]
    known = [row for row in rows if row.get("return_mean") is not None]
    if not known:
        raise UsageError(
            "no episode ended during the run",
            where=str(metrics.parent),
            help="give the ladder more --steps",
        )

    def column(key: str) -> np.ndarray:
        return np.array([row[key] for row in known], float)

    def mean_of(key: str) -> float:
        values = [row[key] for row in rows if row.get(key) is not None]
        return float(np.mean(values)) if values else math.nan

    return Curve(
        column("steps"),
        column("return_mean"),
        column("episodes"),
        mean_of("kl"),
        mean_of("ess"),
    )


def step_grid(budget: int) -> np.ndarray:
    """The common grid: equally spaced from 0 to the budget."""
    return np.linspace(0, budget, GRID)


def on_grid(curve: Curve, budget: int) -> np.ndarray:
    """Returns on the common grid, interpolated linearly.

    The first return is used before the first row (the agent has learned nothing yet),
    the last return after the last row: a run that ended early is not extrapolated.
    """
    return np.asarray(np.interp(step_grid(budget), curve.steps, curve.returns))


def area(curve: Curve, budget: int) -> float:
    """Mean return over the budget: area under the curve (trapezoids) / budget."""
    values = on_grid(curve, budget)
    return float(np.trapezoid(values, step_grid(budget)) / budget)


def steps_to(curve: Curve, threshold: float) -> float:
    """Steps until the mean of the last 100 episodes reached a threshold, or infinity.

    A mean over fewer episodes does not count: it may be luck.
    """
    reached = (curve.returns >= threshold) & (curve.episodes >= MIN_EPISODES)
    return float(curve.steps[np.argmax(reached)]) if reached.any() else math.inf
