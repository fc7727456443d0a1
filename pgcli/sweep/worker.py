"""A worker: runs trials one after the other in one process, with its programs."""

import os
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgcli.config.load import Resolved
from pgcli.errors import ExitCode, LockedError, PgcliError
from pgcli.storage import checkpoint, run_name
from pgcli.storage.lock import locked
from pgcli.sweep.directory import ALL, SweepDirectory
from pgcli.sweep.plan import Plan, name_of
from pgcli.sweep.results import each_scored, scored
from pgcli.sweep.sampling import labels_of, make_pruner
from pgcli.sweep.space import Labels
from pgcli.sweep.space import values as values_of
from pgcli.sweep.study import (
    ANOTHER_PROCESS,
    BEAT_SECONDS,
    SILENT_SECONDS,
    STATES,
    Queue,
)
from pgcli.training.backend import layout
from pgcli.training.reporter import Reporter
from pgcli.training.run import train
from pgcli.training.stop_signals import Interrupted, stop_on_signal

if TYPE_CHECKING:
    from optuna import Trial

MAX_ATTEMPTS = 10
"""Deaths of its worker, without a new checkpoint, after which a trial has failed."""

PAUSE_SECONDS = 5.0
"""Pause after a trial whose run another process is writing."""


class Pruned(Exception):  # noqa: N818 - a request, not an error
    """A trial was stopped by the pruner."""


def work(
    directory: SweepDirectory,
    plan: Plan,
    url: str,
    note: Callable[[str], None],
    parent: int | None = None,
) -> int:
    """Runs trials until none is left, or `parent` has ended; returns how many.

    Raises:
      Interrupted: a signal arrived; the trial is saved and back in the queue.
      SystemExit: the next trial needs another process.
    """
    queue = Queue(directory, plan, url)
    queue.study.pruner = make_pruner(plan)
    count = 0
    with (
        stop_on_signal(_Notes(note)) as stop,
        _alive(directory.workers, parent) as lock,
    ):
        worker = _Worker(directory, plan, queue, lock, note)
        while stop.code is None:
            together = queue.claim_all(lock) if plan.together else []
            trial = together[0] if together else queue.claim(lock)
            if trial is None:
                return count
            try:
                if together:
                    worker.run_together(together)
                else:
                    worker.run(trial)
                count += len(together) or 1
            except LockedError as error:
                queue.release(lock)
                note(f"{name_of(trial.number)}: {error.message}")
                time.sleep(PAUSE_SECONDS)
            except (Interrupted, KeyboardInterrupt, SystemExit):
                queue.release(lock)
                raise
        raise stop.interrupted()


@contextmanager
def _alive(directory: Path, parent: int | None) -> Iterator[Path]:
    """A lock file that shows that this worker lives, touched at intervals."""
    name = f"{socket.gethostname()}@{os.getpid()}-{run_name.suffix()}.lock"
    path, over = directory / name, threading.Event()

    def beat() -> None:
        last = time.monotonic()
        while not over.wait(0.5):
            if parent is not None and os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)
                return
            silent = time.monotonic() - last
            if silent >= SILENT_SECONDS:
                # this process was suspended, and its trial may belong to another worker
                os._exit(int(ExitCode.TERMINATED))
            if silent >= BEAT_SECONDS:
                last = time.monotonic()
                os.utime(path)

    with locked(path):
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield path
        finally:
            over.set()
            thread.join()
            path.unlink(missing_ok=True)


class _Notes(Reporter):
    """A reporter of warnings; ends the process if a request to stop is not obeyed."""

    def __init__(self, note: Callable[[str], None], prefix: str = "") -> None:
        self._note, self._prefix = note, prefix

    def warn(self, message: str) -> None:
        self._note(self._prefix + message)

    def abandon(self, error: PgcliError) -> None:
        """See `Reporter.abandon`. The trial returns to the queue."""
        os._exit(int(error.exit_code))


class _Evaluations(_Notes):
    """Reports the periodic evaluations of a trial to its study."""

    def __init__(self, trial: "Trial", every: int, note: Callable[[str], None]) -> None:
        super().__init__(note, f"{name_of(trial.number)}: ")
        self._trial, self._every = trial, every

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """See `Reporter.evaluated`. Raises `Pruned` if the pruner decides so."""
        value = row.get("return_iqm", row["return_mean"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an evaluation repeated after a kill
            self._trial.report(value, row["steps"] // self._every)
        if self._trial.should_prune():
            raise Pruned


class _Worker:
    """Runs claimed trials."""

    def __init__(
        self,
        directory: SweepDirectory,
        plan: Plan,
        queue: Queue,
        lock: Path,
        note: Callable[[str], None],
    ) -> None:
        self._directory, self._plan, self._queue = directory, plan, queue
        self._lock, self._note = lock, note
        self._settings: Any = None

    def run(self, trial: "Trial") -> None:
        """Trains a trial, or reads its result, and reports it to the study.

        Raises:
          Interrupted: a signal arrived.
          LockedError: another process writes to its run.
          SystemExit: it needs another process.
        """
        number = trial.number
        labels = labels_of(trial, self._plan.file.space)
        record = self._directory.read_record(number)
        if "state" not in record:
            start = time.monotonic()
            record = self._outcome(trial, labels)
            record["seconds"] = round(time.monotonic() - start, 3)
            reported = self._queue.trials()[number].intermediate_values
            record["evaluations"] = {str(step): x for step, x in reported.items()}
            self._directory.write_record(number, record)
        self._tell(trial, record)
        score = record.get("score")
        text = f"return {score:.6g}" if score is not None else record.get("error", "")
        self._note(f"{name_of(number)}: {record['state']} {text}".rstrip())

    def run_together(self, trials: "Sequence[Trial]") -> None:
        """Trains all trials as the members of one run; raises as `run` does."""
        plan, start = self._plan, time.monotonic()
        heads = []
        for trial in trials:
            heads.append(self._head(trial.number, labels_of(trial, plan.file.space)))
        try:
            self._count_attempt(heads[0])
            result = train(
                plan.all_trials(),
                runs_dir=self._directory.runs,
                name=ALL,
                resume="auto",
                reporter=_Notes(self._note),
            )
            ended = each_scored(result)
        except (LockedError, Interrupted):
            self._forgive(heads[0])
            raise
        except PgcliError as error:
            ended = [{"state": "failed", "error": error.message}] * len(plan.grid)
        seconds = round((time.monotonic() - start) / len(trials), 3)
        for trial, head in zip(trials, heads, strict=True):
            record = {**head, **ended[trial.number], "seconds": seconds}
            self._directory.write_record(trial.number, record)
            self._tell(trial, record)
        self._note(f"{len(trials)} trials in one run: {ALL}")

    def _head(self, number: int, labels: Labels) -> dict[str, Any]:
        """The beginning of the record of a trial."""
        values = values_of(self._plan.file.space, labels)
        return {"trial": number, "labels": dict(labels), "values": values}

    def _count_attempt(self, head: Mapping[str, Any]) -> None:
        """Counts a start of a trial; a PgcliError if its worker died too often."""
        number = head["trial"]
        before = self._directory.read_record(number)
        saved = checkpoint.committed(self._directory.run(number).checkpoints)
        newest = max((path.name for path in saved), default=None)
        attempts = before.get("attempts", 0) if before.get("newest") == newest else 0
        if attempts >= MAX_ATTEMPTS:
            times = f"{attempts} times in a row"
            raise PgcliError(f"its worker died {times} at checkpoint {newest}")
        counted = {"newest": newest, "attempts": attempts + 1}
        self._directory.write_record(number, {**head, **counted})

    def _forgive(self, head: Mapping[str, Any]) -> None:
        """Records that a start has not ended in the death of the worker."""
        self._directory.write_record(head["trial"], head)

    def _outcome(self, trial: "Trial", labels: Labels) -> dict[str, Any]:
        """The record of a trial that has ended."""
        head = self._head(trial.number, labels)
        try:
            self._count_attempt(head)
            resolved = self._plan.resolve(labels)
            self._require_settings(resolved, trial.number)
            result = train(
                resolved,
                runs_dir=self._directory.runs,
                name=name_of(trial.number),
                resume="auto",
                reporter=_Evaluations(
                    trial, max(1, resolved.config.eval.every or 1), self._note
                ),
            )
        except Pruned:
            return head | {"state": "pruned"}
        except (LockedError, Interrupted, SystemExit):
            self._forgive(head)
            raise
        except PgcliError as error:
            return head | {"state": "failed", "error": error.message}
        return head | scored(result)

    def _require_settings(self, resolved: Resolved, number: int) -> None:
        """Ends the worker if JAX has started with other settings than a trial needs.

        Threads and devices determine the bits of an update: a trial must not depend on
        the trials before it.
        """
        config, run = resolved.config, self._directory.run(number)
        recorded = run.read_meta().get("accelerator") if run.is_run() else None
        on_cpu = layout.on_cpu(config, recorded or {})
        settings = config.accelerator, config.env.on_device, on_cpu
        if self._settings not in (None, settings):
            raise SystemExit(ANOTHER_PROCESS)
        self._settings = settings

    def _tell(self, trial: "Trial", record: Mapping[str, Any]) -> None:
        """Reports the end of a trial to the study."""
        from optuna.trial import TrialState

        if "error" in record:
            trial.set_user_attr("error", record["error"])
        state = TrialState[STATES[record["state"]]]
        self._queue.study.tell(
            trial, record.get("score"), state=state, skip_if_finished=True
        )
