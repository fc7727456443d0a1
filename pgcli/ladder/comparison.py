"""The ladder: trains every rung with the same network, seeds and collector."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from pgcli.arrays.statistics import iqm, iqm_band, summary
from pgcli.config.members import config_of, members
from pgcli.config.schema import EnvConfig
from pgcli.envs import user_modules
from pgcli.ladder.claims import judge
from pgcli.ladder.curves import Curve, area, on_grid, read_curve, step_grid, steps_to
from pgcli.ladder.jobs import Job, Outcome, run_all
from pgcli.ladder.plan import Request, Rung, make_rungs, settings

RUNS, TUNING = "runs", "tuning"


class Watcher(Protocol):
    """Receives the progress of a ladder."""

    def begin(self, title: str, count: int, workers: int) -> None:
        """Called before `count` runs start, `workers` at a time."""

    def ended(self, outcome: Outcome) -> None:
        """Called when a run has ended."""

    def waiting(self, job: Job) -> None:
        """Called if another process is training this run."""


def run_ladder(request: Request, watcher: Watcher) -> dict[str, Any]:
    """Trains the rungs and compares them.

    Finished runs in `request.out` are read and not trained again.

    Returns:
      `ok, env, steps, seeds, threshold, common, rungs, order, tuning, curves`, as in
      `ladder.json`.

    Raises:
      PgcliError: see `run_all` and `make_rungs`.
    """
    rungs = make_rungs(request)
    tuning = None
    if request.tune:
        rungs, tuning = tune(request, rungs, watcher)
    seeds, budget = request.seeds, rungs[0].config.steps
    trained: dict[str, list[Trained]] = {rung.algo: [] for rung in rungs}
    for run in _train(request, "training", rungs, seeds, RUNS, watcher):
        trained[run[0].job.config.algo.name].append(run)
    threshold = request.threshold
    if threshold is None:
        threshold = known_threshold(request.env)
    common, own = settings(rungs)
    rows, areas, curves, highest = [], {}, {}, 0.0
    for rung in rungs:
        runs = trained[rung.algo]
        row = describe(rung, runs, budget, threshold)
        rows.append(row | {"settings": own[rung.algo]})
        areas[rung.algo] = np.array([run["auc"] for run in row["runs"]])
        grid = np.array([on_grid(curve, budget) for _, curve in runs])
        highest = max(highest, float(np.abs(grid).max()))
        band = zip(("iqm", "low", "high"), iqm_band(grid), strict=True)
        curves[rung.algo] = {name: values.tolist() for name, values in band}
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


Trained = tuple[Outcome, Curve]
"""One run and its curve."""


def _train(
    request: Request,
    title: str,
    rungs: Sequence[Rung],
    seeds: Sequence[int],
    folder: str,
    watcher: Watcher,
    lrs: Sequence[float] = (),
) -> Iterator[Trained]:
    """Trains every rung with every seed (and learning rate).

    If possible, one program trains all runs of a rung.
    """
    runs_dir = request.out / folder
    together = can_be_side_by_side(request.env, seeds)
    if together:
        jobs = [rung.side_by_side(seeds, runs_dir, lrs) for rung in rungs]
    elif lrs:
        jobs = [
            rung.with_lr(lr).job(seed, runs_dir, f"-lr{lr:g}")
            for seed in seeds
            for lr in lrs
            for rung in rungs
        ]
    else:
        jobs = [rung.job(seed, runs_dir) for seed in seeds for rung in rungs]
    watcher.begin(title, len(jobs), request.jobs)
    for outcome in run_all(jobs, request.jobs, watcher.ended, watcher.waiting):
        if together:
            yield from _split(outcome)
        else:
            yield outcome, read_curve(outcome.job.run.metrics_jsonl)


def can_be_side_by_side(env_id: str, seeds: Sequence[int]) -> bool:
    """Whether one program can train these seeds: on the device and consecutive."""
    consecutive = list(seeds) == list(range(seeds[0], seeds[-1] + 1))
    return EnvConfig(env_id).on_device and consecutive


def _split(outcome: Outcome) -> Iterator[Trained]:
    """An outcome and a curve for each member of a run, in order."""
    job, result = outcome.job, outcome.result or {}
    known = {entry["member"]: entry for entry in result.get("members", [])}
    for member in members(job.config):
        entry = known.get(member.index, {})
        alone = dataclasses.replace(job, config=config_of(job.config, member))
        diverged = outcome.diverged or entry.get("diverged")
        own = Outcome(alone, {"eval": entry.get("eval")}, diverged)
        yield own, read_curve(job.run.metrics_jsonl, member.index)


def describe(
    rung: Rung, trained: Sequence[Trained], budget: int, threshold: float | None
) -> dict[str, Any]:
    """One row of the table, with its runs.

    The last return of a diverged run counts until the end of the budget. Such a run has
    no evaluation.
    """
    runs = [_one(outcome, curve, budget, threshold) for outcome, curve in trained]

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
    """Median steps to the threshold; runs that missed it count as infinite."""
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
    """The rungs with their best learning rates, by IQM of the area over other seeds.

    A rate at which a run diverged is chosen only if runs diverged at every rate. Of
    equally good rates, the smallest is chosen. Rungs in `request.lrs` keep their rate.
    """
    free = [rung for rung in rungs if rung.algo not in request.lrs]
    lrs = sorted(set(request.tune))
    scores: dict[str, dict[float, list[float]]] = {rung.algo: {} for rung in free}
    sound: dict[str, set[float]] = {rung.algo: set(request.tune) for rung in free}
    seeds = request.tune_seeds
    trained = _train(
        request, "choosing learning rates", free, seeds, TUNING, watcher, lrs
    )
    for outcome, curve in trained:
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
    return chosen, {"seeds": list(seeds), "rungs": rows}


def known_threshold(env_id: str) -> float | None:
    """The return at which Gymnasium considers the environment solved, or None."""
    import gymnasium

    user_modules.named()  # registers their environments
    spec = gymnasium.registry.get(env_id.rpartition(":")[2])
    return (
        None
        if spec is None or spec.reward_threshold is None
        else float(spec.reward_threshold)
    )
