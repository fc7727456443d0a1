"""`pgcli sweep FILE`: prepares the study, runs workers, and collects results."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from pgcli.errors import LockedError, PgcliError
from pgcli.storage.lock import locked
from pgcli.sweep import study
from pgcli.sweep.directory import SweepDirectory
from pgcli.sweep.launchers import slurm
from pgcli.sweep.launchers.base import Launch, Workers
from pgcli.sweep.plan import Plan
from pgcli.sweep.results import results
from pgcli.sweep.watcher import Snapshot, Watcher
from pgcli.training.stop_signals import Interrupted, stop_on_signal

POLL_SECONDS = 0.3

MAX_FAILURES = 3
"""Workers that fail, and trials that fail before one succeeds, that end the sweep."""


Report = Callable[[Snapshot], None]


def storage_url(directory: SweepDirectory) -> str:
    """The URL of the storage: that of the last start, else a file of the sweep."""
    own = f"sqlite:///{(directory.path / 'study.db').absolute()}"
    return directory.read_settings().get("storage") or own


def prepare(
    plan: Plan,
    directory: SweepDirectory,
    storage: str | None,
    modules: Mapping[str, list[str]],
) -> None:
    """Creates the directory; a UsageError if it contains another sweep."""
    study.require_optuna()
    kept = storage or directory.read_settings().get("storage")
    directory.prepare(plan, {"storage": kept, **modules})


def submit(
    plan: Plan, directory: SweepDirectory, *, tasks: int, rebuild: bool
) -> dict[str, Any]:
    """Submits workers of a prepared sweep as a Slurm job; returns what was submitted.

    Raises:
      LockedError: the sweep is being run by a process on this machine.
      UsageError: the job cannot be submitted.
    """
    if plan.num_trials is None:
        help = "set `trials`: the time of a job is an option of Slurm"
        plan.file.fail("a Slurm job needs a number of trials", ("hours",), help)
    with locked(directory.path / "lock"):
        study.create(directory, plan, storage_url(directory), rebuild=rebuild)
        text = slurm.script(directory, min(tasks, plan.num_trials), plan.file.slurm)
        job = slurm.submit(directory, text)
    return {"ok": True, "path": str(directory.path), "job": job}


def run(
    plan: Plan,
    directory: SweepDirectory,
    *,
    launch: Launch,
    workers: int,
    storage: str | None,
    rebuild: bool,
    modules: Mapping[str, list[str]],
    report: Report,
) -> dict[str, Any]:
    """Runs the trials that have not ended; returns the results of all.

    The study is in `storage`, else in that of the last start or in a file; `rebuild`
    makes it again from the records of the trials. Workers may import `modules`.

    Raises:
      Interrupted: a signal arrived; all running trials are saved.
      LockedError: the sweep is being run by another process.
      PgcliError: workers or trials fail from the start.
    """
    prepare(plan, directory, storage, modules)
    end = None if plan.file.hours is None else time.monotonic() + plan.file.hours * 3600
    try:
        with locked(directory.path / "lock"), stop_on_signal() as stop:
            url = storage_url(directory)
            study.create(directory, plan, url, rebuild=rebuild)
            queue = study.Queue(directory, plan, url)
            # one worker has all cores if all trials are one run
            together = plan.together and directory.may_start_together()
            workers = 1 if together else workers
            pool = launch(directory, workers)
            watcher = Watcher(directory, plan, queue, workers, end)
            try:
                while stop.code is None and not _is_over(queue, plan, end):
                    queue.requeue()
                    counts = queue.counts()
                    # a trial of another machine's worker needs none here
                    left = counts["waiting"] and sum(
                        counts[state] for state in ("waiting", "running")
                    )
                    pool.fill(workers if plan.num_trials is None else left)
                    report(watcher.snapshot())
                    _check(queue, pool, counts)
                    time.sleep(POLL_SECONDS)
            finally:
                pool.stop()
                queue.requeue()
            report(watcher.snapshot())
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


def _check(queue: study.Queue, pool: Workers, counts: Mapping[str, int]) -> None:
    """Raises a PgcliError if workers, or all of the first trials, have failed."""
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
