"""Groups of runs compared by their final evaluations.

The statistics are those of Agarwal et al. (2021, arXiv 2108.13264).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pgcli.arrays.statistics import CURVE_RESAMPLES, bootstrap_interval, summary
from pgcli.charts.base import Curve, Panel
from pgcli.errors import UsageError
from pgcli.report.text import csv_text
from pgcli.storage.curves import Groups, Series, grouped, panels
from pgcli.storage.run_directory import RunDirectory

EVALUATED = "eval.return_mean"
GRID = 200
"""Points of a performance profile."""


def compare(
    runs: Sequence[RunDirectory],
    *,
    group_by: str | None = None,
    threshold: float | None = None,
) -> dict[str, Any]:
    """Statistics of each group, the first of which is the baseline of the others.

    The score of a member is the mean return of its final evaluation, or of its last
    periodic one if the run has not ended.

    Args:
      runs: the runs; all of one environment.
      group_by: key of the configuration whose values are the groups; by default the
        seeds of one run and grid point are a group.
      threshold: evaluation return of which the first step is reported.

    Raises:
      UsageError: the runs are of several environments, none has been evaluated, or
        there is no such key.
    """
    groups = grouped(runs, x="steps", keys=[EVALUATED], group_by=group_by)[EVALUATED]
    envs = {str(one.facts["env.id"]) for each in groups.values() for one in each}
    if len(envs) > 1:
        raise UsageError(
            f"the runs are of several environments: {', '.join(sorted(envs))}",
            help="returns of different environments cannot be compared: name the runs "
            "of one",
        )
    finals = {run.name: _finals(run) for run in runs}
    scores = {
        label: np.array(
            [x for x in (_score(one, finals) for one in each) if x is not None]
        )
        for label, each in groups.items()
    }
    missing = sum(map(len, groups.values())) - sum(map(len, scores.values()))
    scores = {label: values for label, values in scores.items() if len(values)}
    if not scores:
        raise UsageError("no run has been evaluated yet")
    baseline = next(iter(scores))
    return {
        "env": envs.pop(),
        "baseline": baseline,
        "threshold": threshold,
        "not_evaluated": missing,
        "groups": [
            {
                "group": label,
                "runs": len(values),
                **summary(values),
                # of single runs, it would be 0 or 1 with an interval of no width
                "improvement": None
                if label == baseline or min(len(values), len(scores[baseline])) < 2
                else _improvement(scores[baseline], values),
                "steps_to_threshold": _steps_to(groups, label, threshold),
                "scores": values.tolist(),
            }
            for label, values in scores.items()
        ],
    }


def pictures(
    runs: Sequence[RunDirectory], result: Mapping[str, Any], group_by: str | None
) -> list[Panel]:
    """Evaluation returns by steps, and the performance profile of each group."""
    curves = panels(runs, x="steps", keys=[EVALUATED], group_by=group_by)
    return [*curves, profiles(result)]


def profiles(result: Mapping[str, Any]) -> Panel:
    """The performance profile of each group."""
    scores = {row["group"]: np.array(row["scores"]) for row in result["groups"]}
    every = np.concatenate(list(scores.values()))
    margin = 0.05 * (every.max() - every.min()) or 1.0
    returns = np.linspace(every.min() - margin, every.max() + margin, GRID)
    each = [_profile(label, values, returns) for label, values in scores.items()]
    title = "share of runs above a final evaluation return"
    return Panel(title, "evaluation return", each)


def to_csv(result: Mapping[str, Any]) -> str:
    """One line per group."""
    return csv_text([_csv_row(row) for row in result["groups"]])


def _csv_row(row: Mapping[str, Any]) -> dict[str, Any]:
    better = row["improvement"] or {"probability": None, "ci": (None, None)}
    reached = row["steps_to_threshold"] or {"median": None, "reached": None}
    return {
        "group": row["group"],
        "runs": row["runs"],
        "iqm": row["iqm"],
        "iqm_low": row["iqm_ci"][0],
        "iqm_high": row["iqm_ci"][1],
        "mean": row["mean"],
        "mean_low": row["mean_ci"][0],
        "mean_high": row["mean_ci"][1],
        "worst": row["worst"],
        "probability_of_improvement": better["probability"],
        "probability_low": better["ci"][0],
        "probability_high": better["ci"][1],
        "steps_to_threshold": reached["median"],
        "reached_threshold": reached["reached"],
    }


def _finals(run: RunDirectory) -> dict[int | None, float]:
    """Mean return of the final evaluation by member; empty if the run has not ended."""
    result = run.read_result() or {}
    by_member = {None: result, **{m["member"]: m for m in result.get("members", ())}}
    found = {key: (row.get("eval") or {}) for key, row in by_member.items()}
    return {
        key: float(row["return_mean"])
        for key, row in found.items()
        if row.get("return_mean") is not None
    }


def _score(
    one: Series, finals: Mapping[str, Mapping[int | None, float]]
) -> float | None:
    final = finals[one.facts["run"]].get(one.facts["member"])
    if final is not None:
        return final
    return float(one.curve.y[-1]) if len(one.curve.y) else None


def _improvement(baseline: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    """Probability that a run of the group beats one of the baseline; ties half."""

    def probability(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x, y = x[..., :, None], y[..., None, :]
        return np.asarray(np.mean((x > y) + 0.5 * (x == y), axis=(-2, -1)))

    interval = bootstrap_interval(
        scores, baseline, statistic=probability, resamples=CURVE_RESAMPLES
    )
    return {"probability": float(probability(scores, baseline)), "ci": list(interval)}


def _steps_to(
    groups: Groups, label: str, threshold: float | None
) -> dict[str, Any] | None:
    """Median step at which an evaluation first reached the threshold."""
    if threshold is None:
        return None
    reached = [
        one.curve.x[np.argmax(one.curve.y >= threshold)]
        for one in groups[label]
        if (one.curve.y >= threshold).any()
    ]
    return {
        "median": float(np.median(reached)) if reached else None,
        "reached": len(reached),
    }


def _profile(label: str, scores: np.ndarray, returns: np.ndarray) -> Curve:
    """Share of scores above each return, with a 95 % bootstrap interval."""
    count = len(scores)
    share = np.mean(scores[:, None] > returns, axis=0)
    drawn = np.random.default_rng(0).integers(0, count, (CURVE_RESAMPLES, count))
    shares = np.stack([np.mean(scores[drawn] > x, axis=1) for x in returns])
    low, high = np.quantile(shares, [0.025, 0.975], axis=1)
    return Curve(label, returns, share, low, high)
