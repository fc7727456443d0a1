"""The order of the ladder: what the lectures claim, and what the seeds say of it."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from pgcli.arrays.statistics import difference_interval

Relation = Literal["<", "<="]
Verdict = Literal["holds", "fails", "undecided"]

CLAIMS: tuple[tuple[str, Relation, str], ...] = (
    ("reinforce", "<", "reinforce-baseline"),
    ("reinforce-baseline", "<=", "reward-to-go"),
    ("reward-to-go", "<", "a2c"),
    ("a2c", "<=", "trpo"),
    ("a2c", "<=", "ppo1"),
    ("a2c", "<=", "ppo2"),
)
"""Area under the curve of neighbours, the lecture's story; is-pg is in none."""

TOLERANCE = 0.02
"""How far below, as a share of the maximum, still counts as `<=`."""

MIN_SEEDS = 5
"""Seeds of each rung below which a bootstrap interval decides nothing."""


def verdict(
    relation: Relation, interval: tuple[float, float], maximum: float
) -> Verdict:
    """What the 95 % interval of upper − lower says of a claim.

    `<` holds where the interval is above 0, `<=` where its lower end is above −2 % of
    the maximum. A claim fails where the whole interval is on the other side of that
    bound, and is undecided where the bound is inside.
    """
    low, high = interval
    bound = 0.0 if relation == "<" else -TOLERANCE * maximum
    if low > bound:
        return "holds"
    return "fails" if high < bound else "undecided"


def judge(areas: Mapping[str, np.ndarray], maximum: float) -> list[dict[str, Any]]:
    """The claims whose two rungs are there, each with its verdict.

    Args:
      areas: area under the training curve by rung, one per seed.
      maximum: the largest return, which `<=` measures its tolerance by.
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
