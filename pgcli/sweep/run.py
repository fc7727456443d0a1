"""`pgcli sweep FILE`: prepares the study, runs workers, and collects results."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from pgcli.errors import LockedError, PgcliError
from pgcli.storage.lock import locked
from pgcli.sweep import study
from pgcli.sweep.directory import SweepDirectory
from pgcli.sweep.launchers.local import LocalWorkers
from pgcli.sweep.plan import Plan
from pgcli.sweep.results import results
from pgcli.training.stop_signals import Interrupted, stop_on_signal

POLL_SECONDS = 0.3

MAX_FAILURES = 3
"""Workers that fail, and trials that fail before one succeeds, that end the sweep."""

Report = Callable[[Mapping[str, int], float | None], None]
"""Receives the number of trials by state, and the best score, when they change."""


def storage_url(directory: SweepDirectory, given: str | None) -> str:
    """The URL of the storage: as given or at the last start, else a file."""
    own = f"sqlite:///{(directory.path / 'study.db').absolute()}"
    return given or directory.read_settings().get("storage") or own


def run(
    plan: Plan,
    directory: SweepDirectory,
    *,
    workers: int,
    storage: str | None,
    rebuild: bool,
    env_modules: list[str],
    report: Report,
) -> dict[str, Any]:
    """Runs the trials that have not ended; returns the results of all.

    Args:
      plan: the sweep.
      directory: its directory.
      workers: number of worker processes.
      storage: URL of the storage; None for that of the last start, or a file.
      rebuild: whether to make the study again from the records of the trials.
      env_modules: modules of environments that the workers may import.
      report: receives the progress.

    Raises:
      Interrupted: a signal arrived; all running trials are saved.
      LockedError: the sweep is being run by another process.
      PgcliError: workers or trials fail from the start.
    """
    study.require_optuna()
    own = storage if storage is not None else directory.read_settings().get("storage")
    directory.prepare(plan, {"storage": own, "env_modules": env_modules})
    end = None if plan.file.hours is None else time.monotonic() + plan.file.hours * 3600
    try:
        with locked(directory.path / "lock"), stop_on_signal() as stop:
            url = storage_url(directory, None)
            study.create(directory, plan, url, rebuild=rebuild)
            queue = study.Queue(directory, plan, url)
            pool = LocalWorkers(directory, workers)
            try:
                while stop.code is None and not _is_over(queue, plan, end):
                    queue.requeue()
                    counts = queue.counts()
                    left = counts["waiting"] + counts["running"]
                    pool.fill(workers if plan.num_trials is None else left)
                    report(counts, queue.best_score())
                    _check(queue, pool, counts)
                    time.sleep(POLL_SECONDS)
            finally:
                pool.stop()
                queue.requeue()
            report(queue.counts(), queue.best_score())
            if stop.code is not None:
                raise Interrupted(
                    stop.code,
                    {},
                    "repeat the same command to continue",
                    "trials are saved",
                )
    except LockedError as error:
        raise LockedError(
            "the sweep is being run by another process",
            where=error.where,
            help="`pgcli sweep worker DIR` adds a worker to it",
        ) from None
    return results(directory, queue, plan)


def _is_over(queue: study.Queue, plan: Plan, end: float | None) -> bool:
    """Whether no trial is left, or the time is up."""
    if end is not None and time.monotonic() >= end:
        return True
    counts = queue.counts()
    return plan.num_trials is not None and not counts["waiting"] + counts["running"]


def _check(queue: study.Queue, pool: LocalWorkers, counts: Mapping[str, int]) -> None:
    """Checks that the sweep makes progress.

    Raises:
      PgcliError: workers end with errors, or all of the first trials failed.
    """
    if pool.failures >= MAX_FAILURES:
        raise PgcliError(
            "workers fail one after the other",
            where=pool.log(0),
            help="the log has their last messages",
        )
    if counts["fail"] >= MAX_FAILURES and not counts["complete"] + counts["pruned"]:
        errors = [t.user_attrs.get("error", "") for t in queue.trials()]
        raise PgcliError(
            f"the first {counts['fail']} trials failed: "
            + next(error for error in errors if error),
            help="`pgcli sweep status DIR` shows the trials",
        )
