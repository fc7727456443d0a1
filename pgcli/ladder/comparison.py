"""The ladder: every rung on the same network, seeds and collector, in one table."""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pgcli.arrays.statistics import iqm, iqm_band, summary
from pgcli.config.members import config_of, members
from pgcli.envs import user_modules
from pgcli.envs.registry import on_device
from pgcli.ladder.claims import judge
from pgcli.ladder.curves import Curve, area, on_grid, read_curve, step_grid, steps_to
from pgcli.ladder.jobs import Job, Outcome, run_all
from pgcli.ladder.plan import Request, Rung, make_rungs, settings
from pgcli.storage import files, json_files
from pgcli.storage.loggers.jsonl import jsonable

RUNS, TUNING = "runs", "tuning"


class Watcher(Protocol):
    """Who is told how far a ladder is."""

    def begin(self, title: str, count: int, workers: int) -> None:
        """`count` runs begin."""

    def ended(self, outcome: Outcome) -> None:
        """A run has ended."""

    def waiting(self, job: Job) -> None:
        """Another process is training this run."""


def run_ladder(request: Request, watcher: Watcher) -> dict[str, Any]:
    """Trains the rungs and says how they compare.

    What is finished in `request.out` is read, not trained again.

    Returns:
      `ok, env, steps, seeds, threshold, common, rungs, order, tuning, curves`, as in
      `ladder.json`.

    Raises:
      PgcliError: as `run_all` and `make_rungs` say.
    """
    rungs = make_rungs(request)
    tuning = None
    if request.tune:
        rungs, tuning = tune(request, rungs, watcher)
    seeds, budget = request.seeds, rungs[0].config.steps
    trained = _train(request, rungs, watcher)
    threshold = request.threshold
    if threshold is None:
        threshold = known_threshold(request.env)
    common, own = settings(rungs)
    rows, areas, curves, highest = [], {}, {}, 0.0
    for rung, (mine, each) in zip(rungs, trained, strict=True):
        row = describe(rung, mine, each, budget, threshold)
        rows.append(row | {"settings": own[rung.algo]})
        areas[rung.algo] = np.array([run["auc"] for run in row["runs"]])
        grid = np.array([on_grid(curve, budget) for curve in each])
        highest = max(highest, float(np.abs(grid).max()))
        middle, low, high = iqm_band(grid)
        curves[rung.algo] = {
            "iqm": middle.tolist(),
            "low": low.tolist(),
            "high": high.tolist(),
        }
    return {
        "ok": True,
        "env": request.env,
        "steps": budget,
        "seeds": list(seeds),
        "threshold": threshold,
        "maximum": highest,
        "common": common,
        "rungs": rows,
        "order": judge(areas, highest),
        "tuning": tuning,
        "curves": {"steps": step_grid(budget).tolist(), "rungs": curves},
    }


Trained = tuple[list[Outcome], list[Curve]]
"""Runs of a rung, one per seed, and their curves."""


def _train(request: Request, rungs: Sequence[Rung], watcher: Watcher) -> list[Trained]:
    """The runs of every rung: those of a rung in one program where they can be."""
    seeds, runs_dir = request.seeds, request.out / RUNS
    together = can_be_side_by_side(request.env, seeds)
    if together:
        jobs = [rung.side_by_side(seeds, runs_dir) for rung in rungs]
    else:
        jobs = [rung.job(seed, runs_dir) for seed in seeds for rung in rungs]
    watcher.begin("training", len(jobs), request.jobs)
    outcomes = run_all(jobs, request.jobs, watcher.ended, watcher.waiting)
    if together:
        return [split(outcome) for outcome in outcomes]
    columns = [outcomes[index :: len(rungs)] for index in range(len(rungs))]
    return [(mine, [_curve(outcome) for outcome in mine]) for mine in columns]


def can_be_side_by_side(env_id: str, seeds: Sequence[int]) -> bool:
    """Whether one program can train these seeds: on the device, and consecutive."""
    return on_device(env_id) and list(seeds) == list(range(seeds[0], seeds[-1] + 1))


def _curve(outcome: Outcome) -> Curve:
    return read_curve(outcome.job.run.metrics_jsonl)


def split(outcome: Outcome) -> Trained:
    """Runs side by side as an outcome and a curve for each, in their order."""
    job, result = outcome.job, outcome.result or {}
    known = {entry["member"]: entry for entry in result.get("members", [])}
    each, curves = [], []
    for member in members(job.config):
        entry = known.get(member.index, {})
        config = config_of(job.config, member)
        each.append(
            Outcome(
                dataclasses.replace(job, config=config),
                {"eval": entry.get("eval")},
                outcome.diverged or entry.get("diverged"),
            )
        )
        curves.append(read_curve(job.run.metrics_jsonl, member.index))
    return each, curves


def describe(
    rung: Rung,
    outcomes: Sequence[Outcome],
    curves: Sequence[Curve],
    budget: int,
    threshold: float | None,
) -> dict[str, Any]:
    """One row of the table, and the runs that it is made of.

    A run that diverged keeps its last return to the end of the budget; it has no
    evaluation.
    """
    runs = [
        _one(outcome, curve, budget, threshold)
        for outcome, curve in zip(outcomes, curves, strict=True)
    ]

    def column(key: str) -> np.ndarray:
        values = [run[key] for run in runs if run[key] is not None]
        return np.array(values, float)

    evals = column("eval")
    return {
        "algo": rung.algo,
        "preset": rung.preset,
        "lr": rung.config.optimizer.lr,
        "final": summary(column("final")),
        "auc": summary(column("auc")),
        "eval": summary(evals) if len(evals) else None,
        "threshold": _reached(runs, threshold),
        "kl": _mean(column("kl")),
        "ess": _mean(column("ess")),
        "diverged": sum(run["diverged"] is not None for run in runs),
        "runs": runs,
    }


def _one(
    outcome: Outcome, curve: Curve, budget: int, threshold: float | None
) -> dict[str, Any]:
    result = outcome.result or {}
    reached = math.inf if threshold is None else steps_to(curve, threshold)
    return {
        "run": outcome.job.name,
        "seed": outcome.job.config.seed,
        "final": float(curve.returns[-1]),
        "auc": area(curve, budget),
        "eval": (result.get("eval") or {}).get("return_mean"),
        "steps_to_threshold": reached if math.isfinite(reached) else None,
        "kl": curve.kl if math.isfinite(curve.kl) else None,
        "ess": curve.ess if math.isfinite(curve.ess) else None,
        "diverged": outcome.diverged,
    }


def _reached(
    runs: Sequence[dict[str, Any]], threshold: float | None
) -> dict[str, Any] | None:
    """Median steps to the threshold, those that missed it counting as infinite."""
    if threshold is None:
        return None
    steps = [run["steps_to_threshold"] for run in runs]
    ordered = np.array([math.inf if step is None else step for step in steps])
    median = float(np.median(ordered))
    return {
        "median_steps": median if math.isfinite(median) else None,
        "reached": sum(step is not None for step in steps),
        "of": len(runs),
    }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def tune(
    request: Request, rungs: Sequence[Rung], watcher: Watcher
) -> tuple[list[Rung], dict[str, Any]]:
    """The rungs under the learning rate with the best area, IQM over other seeds.

    A rate under which a run diverged is taken only where all are such. Of equal rates
    the smaller is taken. Rungs with a rate of their own keep it.
    """
    free = [rung for rung in rungs if rung.algo not in request.lrs]
    lrs = sorted(set(request.tune))
    scores: dict[str, dict[float, list[float]]] = {rung.algo: {} for rung in free}
    sound: dict[str, set[float]] = {rung.algo: set(request.tune) for rung in free}
    for outcome, curve in _try(request, free, lrs, watcher):
        config = outcome.job.config
        algo, lr = config.algo.name, config.optimizer.lr
        scores[algo].setdefault(lr, []).append(area(curve, config.steps))
        if outcome.diverged is not None:
            sound[algo].discard(lr)
    chosen, rows = [], {}
    for rung in rungs:
        if rung.algo not in scores:
            chosen.append(rung)
            continue
        areas = {lr: float(iqm(np.array(x))) for lr, x in scores[rung.algo].items()}
        allowed = sound[rung.algo] or set(areas)
        best = max(sorted(allowed), key=lambda lr, areas=areas: areas[lr])  # type: ignore[misc]
        chosen.append(rung.with_lr(best))
        rows[rung.algo] = {
            "lr": best,
            "auc_iqm": {f"{lr:g}": value for lr, value in areas.items()},
            "diverged_at": sorted(set(areas) - sound[rung.algo]),
        }
    return chosen, {"seeds": list(request.tune_seeds), "rungs": rows}


def _try(
    request: Request, rungs: Sequence[Rung], lrs: Sequence[float], watcher: Watcher
) -> Iterator[tuple[Outcome, Curve]]:
    """Every rung under every learning rate and tuning seed."""
    seeds, runs_dir = request.tune_seeds, request.out / TUNING
    together = can_be_side_by_side(request.env, seeds)
    if together:
        jobs = [rung.side_by_side(seeds, runs_dir, lrs) for rung in rungs]
    else:
        jobs = [
            rung.with_lr(lr).job(seed, runs_dir, f"-lr{lr:g}")
            for seed in seeds
            for lr in lrs
            for rung in rungs
        ]
    watcher.begin("choosing learning rates", len(jobs), request.jobs)
    for outcome in run_all(jobs, request.jobs, watcher.ended, watcher.waiting):
        if together:
            yield from zip(*split(outcome), strict=True)
        else:
            yield outcome, _curve(outcome)


def known_threshold(env_id: str) -> float | None:
    """The return at which Gymnasium calls the environment solved, if it says so."""
    import gymnasium

    user_modules.named()  # they register theirs
    spec = gymnasium.registry.get(env_id.rpartition(":")[2])
    return (
        None
        if spec is None or spec.reward_threshold is None
        else float(spec.reward_threshold)
    )


def write(result: dict[str, Any], out: Path) -> dict[str, str]:
    """Writes `ladder.csv` and `ladder.json`; returns where they are."""
    paths = {"csv": out / "ladder.csv", "json": out / "ladder.json"}
    files.ensure_directory(out)
    files.replace_bytes(paths["csv"], to_csv(result).encode())
    json_files.write_object(paths["json"], jsonable(result))
    return {kind: str(path) for kind, path in paths.items()}


def write_variance(result: dict[str, Any], out: Path) -> dict[str, str]:
    """Writes `gradient_variance.csv` and `.json`; returns where they are."""
    paths = {kind: out / f"gradient_variance.{kind}" for kind in ("csv", "json")}
    files.ensure_directory(out)
    rows = [
        {"policy": point["policy"], "steps": point["steps"], **row}
        | dict(zip(("low", "high"), row["ci"] or (None, None), strict=True))
        for point in result["points"]
        for row in point["rows"]
    ]
    for row in rows:
        del row["ci"]
    files.replace_bytes(paths["csv"], _table_of(rows).encode())
    json_files.write_object(paths["json"], jsonable(result))
    return {kind: str(path) for kind, path in paths.items()}


def to_csv(result: dict[str, Any]) -> str:
    """One row a rung, numbers in full."""
    return _table_of([_csv_row(row, result) for row in result["rungs"]])


def _table_of(rows: list[dict[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _csv_row(row: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {
        "algo": row["algo"],
        "env": result["env"],
        "steps": result["steps"],
        "seeds": len(row["runs"]),
        "preset": row["preset"],
        "lr": row["lr"],
    }
    for name in ("final", "auc", "eval"):
        score = row[name] or {}
        for key in ("iqm", "mean"):
            low, high = score.get(f"{key}_ci") or (None, None)
            flat[f"{name}_{key}"] = score.get(key)
            flat[f"{name}_{key}_low"], flat[f"{name}_{key}_high"] = low, high
        flat[f"{name}_worst"] = score.get("worst")
    reached = row["threshold"] or {}
    flat["threshold"] = result["threshold"]
    flat["steps_to_threshold_median"] = reached.get("median_steps")
    flat["reached_threshold"] = reached.get("reached")
    flat["kl"], flat["ess"], flat["diverged"] = row["kl"], row["ess"], row["diverged"]
    flat["settings"] = json.dumps(row["settings"], default=list)
    return flat
