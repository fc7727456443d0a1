"""What a sweep has found: one row per trial, the best one, importance of the keys."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pgcli.arrays.statistics import iqm_weights
from pgcli.errors import UsageError
from pgcli.sweep.directory import SweepDirectory
from pgcli.sweep.plan import Plan

if TYPE_CHECKING:
    from pgcli.sweep.study import Queue

FEWEST_TRIALS = 8
"""Finished trials from which importances are estimated."""


def results(directory: SweepDirectory, queue: "Queue", plan: Plan) -> dict[str, Any]:
    """All trials and the best one, as plain data."""
    rows = [row_of(directory, trial) for trial in queue.trials()]
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


def row_of(directory: SweepDirectory, trial: Any) -> dict[str, Any]:
    """The row of a trial."""
    record: Mapping[str, Any] = directory.read_record(trial.number)
    state = trial.state.name.lower()
    return {
        "trial": trial.number,
        "run": directory.run(trial.number).name,
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


def best_of(results: Mapping[str, Any]) -> dict[str, Any]:
    """The row of the best trial; a UsageError if no trial has a score yet."""
    best: dict[str, Any] | None = results["best"]
    if best is None:
        raise UsageError("no trial has a score yet", where=results["path"])
    return best


def scored(result: Mapping[str, Any]) -> dict[str, Any]:
    """State and score of a trial from its result.

    The score is the interquartile mean over the seeds. A seed that diverged counts as
    the worst; the trial has failed if that is not cut off.
    """
    members = result.get("members")
    if members is None:
        return {
            "state": "complete",
            "score": result["eval"]["return_mean"],
            "ci": result["eval"]["return_ci"],
            "scores": [result["eval"]["return_mean"]],
        }
    scores = [None if m["diverged"] else m["eval"]["return_mean"] for m in members]
    known = np.sort([x for x in scores if x is not None])
    lost = len(scores) - len(known)
    weights = iqm_weights(len(scores))
    if np.any(weights[:lost] > 0):
        error = f"{lost} of {len(scores)} seeds diverged"
        return {"state": "failed", "error": error, "scores": scores}
    score = float(known @ weights[lost:])
    ci = result["eval"]["return_iqm_ci"]
    return {"state": "complete", "score": score, "ci": ci, "scores": scores}


def each_scored(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """State and score of each trial, from the result of a run of all trials."""
    members, cells = result["members"], result["cells"]
    count, found = len(members) // len(cells), []
    for number, cell in enumerate(cells):
        own = members[number * count : (number + 1) * count]
        ci = cell["eval"] and cell["eval"]["iqm_ci"]
        found.append(scored({"members": own, "eval": {"return_iqm_ci": ci}}))
    return found
