"""What a sweep has found: one row per trial, the best one, importance of the keys."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pgcli.sweep.directory import SweepDirectory
from pgcli.sweep.plan import Plan, name_of

if TYPE_CHECKING:
    from pgcli.sweep.study import Queue

FEWEST_TRIALS = 8
"""Finished trials from which importances are estimated."""


def results(directory: SweepDirectory, queue: "Queue", plan: Plan) -> dict[str, Any]:
    """All trials and the best one, as plain data."""
    rows = [_row(directory, trial) for trial in queue.trials()]
    ranked = sorted(
        (row for row in rows if row["score"] is not None),
        key=lambda row: (-row["score"], row["trial"]),
    )
    return {
        "ok": True,
        "sweep": directory.path.resolve().name,
        "path": str(directory.path),
        "sampler": plan.file.sampler,
        "counts": queue.counts(),
        "importance": importance(queue),
        "best": ranked[0] if ranked else None,
        "trials": rows,
    }


def _row(directory: SweepDirectory, trial: Any) -> dict[str, Any]:
    """The row of a trial."""
    record: Mapping[str, Any] = directory.read_record(trial.number)
    state = trial.state.name.lower()
    return {
        "trial": trial.number,
        "run": name_of(trial.number),
        "state": "failed" if state == "fail" else state,
        "values": record.get("values") or {},
        "score": record.get("score"),
        "ci": record.get("ci"),
        "scores": record.get("scores"),
        "seconds": record.get("seconds"),
        "error": record.get("error"),
    }


def importance(queue: "Queue") -> dict[str, float]:
    """Share of each dimension in the differences of the score, the largest first."""
    from optuna.importance import get_param_importances

    done = [t for t in queue.trials() if t.state.name == "COMPLETE"]
    if len(done) < FEWEST_TRIALS or len({t.value for t in done}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return dict(get_param_importances(queue.study))
        except (ValueError, RuntimeError):  # no dimension is in all trials
            return {}
