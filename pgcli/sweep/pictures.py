"""Curves of a sweep: scores over the trials, and over the values of each dimension."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pgcli.charts.base import Curve, Panel
from pgcli.errors import UsageError

MOST_KEYS = 3
"""Keys that get a panel, the most important ones."""


def panels(results: Mapping[str, Any]) -> list[Panel]:
    """The score of each trial and the best so far, then the score by numbers.

    Raises a UsageError if fewer than two trials have a score.
    """
    rows = [row for row in results["trials"] if row["score"] is not None]
    if len(rows) < 2:
        raise UsageError("fewer than two trials have a score", where=results["path"])
    number = np.array([row["trial"] for row in rows], float)
    score = np.array([row["score"] for row in rows])
    best = np.maximum.accumulate(score)
    curves = [Curve("each trial", number, score), Curve("best so far", number, best)]
    drawn = [Panel("return, IQM over seeds", "trial", curves)]
    keys = [*results["importance"], *(key for row in rows for key in row["values"])]
    numbers = [panel for key in dict.fromkeys(keys) if (panel := _by_key(rows, key))]
    return drawn + numbers[:MOST_KEYS]


def _by_key(rows: list[Any], key: str) -> Panel | None:
    """The mean score by the values of a number; None for other keys."""
    pairs = [(row["values"].get(key), row["score"]) for row in rows]
    known = [(x, y) for x, y in pairs if type(x) in (int, float)]
    values = sorted({x for x, _ in known})
    if len(values) < 2:
        return None
    y = np.array([np.mean([b for a, b in known if a == x]) for x in values])
    wide = values[0] > 0 and values[-1] / values[0] >= 30
    x = np.array([math.log10(v) if wide else v for v in values])
    title = f"log10({key})" if wide else key
    return Panel(f"return by {key}", title, [Curve(key, x, y)])
