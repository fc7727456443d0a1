"""The claims of the lectures about the order of the rungs, tested on the seeds."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from pgcli.arrays.statistics import difference_interval
from pgcli.config.algorithms import ALGORITHM_CONFIGS, Relation

Verdict = Literal["holds", "fails", "undecided"]

CLAIMS: tuple[tuple[str, Relation, str], ...] = tuple(
    (lower, relation, upper)
    for upper, config in ALGORITHM_CONFIGS.items()
    for lower, relation in config.claims.items()
)
"""Claims about the areas under the curve of two rungs."""

TOLERANCE = 0.02
"""Difference that still counts as `<=`, as a share of the maximum."""

MIN_SEEDS = 5
"""With fewer seeds per rung the bootstrap interval is unreliable: undecided."""


def verdict(
    relation: Relation, interval: tuple[float, float], maximum: float
) -> Verdict:
    """The verdict on a claim by the 95 % interval of upper − lower.

    The bound is 0 for `<` and −2 % of the maximum for `<=`. A claim holds if the whole
    interval is above its bound, fails if it is below, and is undecided otherwise.
    """
    low, high = interval
    bound = 0.0 if relation == "<" else -TOLERANCE * maximum
    if low > bound:
        return "holds"
    return "fails" if high < bound else "undecided"


def judge(areas: Mapping[str, np.ndarray], maximum: float) -> list[dict[str, Any]]:
    """The claims about two of the given rungs, each with its verdict.

    `areas` has one value per seed. The tolerance of `<=` is relative to the largest
    return, `maximum`.
    """
    rows = []
    for lower, relation, upper in CLAIMS:
        if lower not in areas or upper not in areas:
            continue
        interval = difference_interval(areas[lower], areas[upper])
        seeds = min(len(areas[lower]), len(areas[upper]))
        rows.append(
            {
                "lower": lower,
                "relation": relation,
                "upper": upper,
                "difference": float(areas[upper].mean() - areas[lower].mean()),
                "ci": list(interval),
                "tolerance": 0.0 if relation == "<" else TOLERANCE * maximum,
                "seeds": seeds,
                "verdict": (
                    verdict(relation, interval, maximum)
                    if seeds >= MIN_SEEDS
                    else "undecided"
                ),
            }
        )
    return rows
