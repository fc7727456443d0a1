"""The study of a sweep in Optuna: the queue of its trials, and the sampler."""

import contextlib
import importlib.util
import os
import socket
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgcli.errors import LockedError, UsageError
from pgcli.storage.lock import is_held, locked
from pgcli.sweep.directory import SweepDirectory
from pgcli.sweep.plan import Plan
from pgcli.sweep.sampling import distribution, labels_of, make_sampler
from pgcli.sweep.space import Labels, Space, active

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

EXTRA = "sweep"
STUDY = "sweep"
STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
"""States of trials in Optuna by those of their records."""

OWNER = "owner"
"""Attribute of a trial: the lock file of the worker that runs it."""

BEAT_SECONDS = 30.0
"""Interval at which a worker touches its lock file."""

SILENT_SECONDS = 300.0
"""Silence after which a worker on another machine counts as dead."""

BUSY_SECONDS = 60
"""Time to wait for another process that writes to SQLite."""

ANOTHER_PROCESS = 75
"""Exit status of a worker whose next trial needs other settings of JAX."""

CLAIM_SECONDS = 60.0
"""Time to wait for another process that claims a trial."""


def require_optuna() -> None:
    """Raises a UsageError if Optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise UsageError(
            "a sweep needs Optuna, which is not installed",
            help=f"pip install 'pgcli-jax[{EXTRA}]'; or run the lines of --print",
        )
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


class Queue:
    """The trials of a sweep in a storage that several processes share.

    A trial keeps its number and its values when it returns to the queue, so that its
    run continues. All claims hold one lock: a running trial without an owner is one
    whose worker was killed while it claimed.
    """

    def __init__(self, directory: SweepDirectory, plan: Plan, url: str) -> None:
        """Opens the study; a UsageError if the storage has none."""
        require_optuna()
        import optuna

        self._directory, self._plan = directory, plan
        self._storage = open_storage(url)
        try:
            self.study: Study = optuna.load_study(
                study_name=study_name(directory), storage=self._storage
            )
        except KeyError:
            raise UsageError(
                "the storage has no study of this sweep",
                where=url,
                help="start the sweep first; --rebuild makes it from the runs",
            ) from None

    def trials(self) -> "list[FrozenTrial]":
        """All trials, by number."""
        trials: list[FrozenTrial] = self.study.get_trials(deepcopy=False)
        return trials

    def counts(self) -> dict[str, int]:
        """Number of trials by state, in lower case."""
        counts = dict.fromkeys(("waiting", "running", "complete", "pruned", "fail"), 0)
        for trial in self.trials():
            counts[trial.state.name.lower()] += 1
        return counts

    def claim(self, owner: Path) -> "Trial | None":
        """The next trial, marked as running by `owner`; None if none is left."""
        with self._lock():
            self._requeue()
            waiting = [t.number for t in self.trials() if t.state.name == "WAITING"]
            if not waiting and self._plan.num_trials is None:
                waiting = [len(self.trials())]
                self.study.enqueue_trial({})
            if not waiting:
                return None
            self.study.sampler = make_sampler(self._plan, min(waiting))
            trial = self.study.ask()
            trial.set_user_attr(OWNER, owner.name)
            return trial

    def claim_all(self, owner: Path) -> "list[Trial]":
        """All trials that have not ended, if they are to be trained together."""
        with self._lock():
            self._requeue()
            trials = self.trials()
            if any(trial.state.name == "RUNNING" for trial in trials) or not (
                self._directory.may_start_together()
            ):
                return []
            claimed = []
            waiting = [t.number for t in trials if t.state.name == "WAITING"]
            for number in waiting:
                self.study.sampler = make_sampler(self._plan, number)
                claimed.append(self.study.ask())
                claimed[-1].set_user_attr(OWNER, owner.name)
                labels_of(claimed[-1], self._plan.file.space)  # by its own sampler
            return claimed

    def requeue(self) -> None:
        """Puts the trials of dead workers back."""
        with self._lock():
            self._requeue()

    def release(self, owner: Path) -> None:
        """Puts the trials of a worker back, to be continued."""
        with self._lock():
            self._requeue(owner.name)

    def _requeue(self, owner: str | None = None) -> None:
        from optuna.trial import TrialState

        for trial in self.trials():
            if trial.state == TrialState.RUNNING and (
                self._is_dead(trial)
                if owner is None
                else trial.user_attrs.get(OWNER) == owner
            ):
                self._storage.set_trial_state_values(
                    trial._trial_id, TrialState.WAITING
                )

    def _is_dead(self, trial: "FrozenTrial") -> bool:
        """Whether no worker runs a trial any more."""
        owner: str | None = trial.user_attrs.get(OWNER)
        if owner is None:
            return True
        path = self._directory.workers / owner
        if owner.partition("@")[0] == socket.gethostname():
            return not is_held(path)
        # on another machine, whose locks may be visible here or not
        if self._directory.run(trial.number).is_locked():
            return False
        with contextlib.suppress(OSError):
            now = self._claim_file.stat().st_mtime  # by the clock of the file server
            return bool(now - path.stat().st_mtime > SILENT_SECONDS)
        return True

    @property
    def _claim_file(self) -> Path:
        return self._directory.workers / "claim.lock"

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        end = time.monotonic() + CLAIM_SECONDS
        while True:
            with contextlib.ExitStack() as stack:
                try:
                    stack.enter_context(locked(self._claim_file))
                except LockedError:
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.05)
                    continue
                os.utime(self._claim_file)
                yield
                return


def study_name(directory: SweepDirectory) -> str:
    """Name of the study: that of the directory, since storages may be shared."""
    return directory.path.resolve().name


def open_storage(url: str) -> Any:
    """The storage at a URL of SQLAlchemy, or in a journal file; else a UsageError."""
    from optuna.storages import JournalStorage, RDBStorage, journal

    scheme, _, rest = url.partition("://")
    try:
        if scheme == "journal":
            return JournalStorage(journal.JournalFileBackend(rest))
        if scheme != "sqlite":
            return RDBStorage(url)
        from sqlalchemy import NullPool

        # no connection outlives its use
        options = {"connect_args": {"timeout": BUSY_SECONDS}, "poolclass": NullPool}
        return RDBStorage(url, engine_kwargs=options)
    except Exception as error:
        raise UsageError(
            f"the storage cannot be opened: {str(error).splitlines()[0]}",
            where=url,
            help="sqlite:///FILE, postgresql://HOST/NAME or journal://FILE",
        ) from error


def create(
    directory: SweepDirectory, plan: Plan, url: str, *, rebuild: bool = False
) -> None:
    """Creates the study (`rebuild`: again) and its trials, from their records if any.

    Raises a LockedError if workers are running, so that the study cannot be deleted.
    """
    require_optuna()
    import optuna

    storage, name = open_storage(url), study_name(directory)
    if rebuild:
        for path in directory.workers.glob("*@*.lock"):
            if is_held(path):
                raise LockedError(
                    "a worker of this sweep is running",
                    where=str(path),
                    help="stop it before --rebuild",
                )
        with contextlib.suppress(KeyError):
            optuna.delete_study(study_name=name, storage=storage)
    study = optuna.create_study(
        study_name=name, storage=storage, direction="maximize", load_if_exists=True
    )
    records = dict(directory.records())
    count = max(plan.num_trials or 0, max(records, default=-1) + 1)
    for number in range(len(study.trials), count):
        study.add_trial(_frozen(records.get(number, {}), plan.file.space))


def _frozen(record: Mapping[str, Any], dimensions: Space) -> "FrozenTrial":
    """The trial of a record: with its values, and its score if it has ended."""
    from optuna.trial import TrialState, create_trial

    labels: Labels = record.get("labels", {})
    state = STATES.get(record.get("state", ""), "WAITING")
    return create_trial(
        state=TrialState[state],
        value=record.get("score") if state == "COMPLETE" else None,
        params=dict(labels),
        distributions={
            each.name: distribution(each) for each, _ in active(dimensions, labels)
        },
        user_attrs={"error": record["error"]} if "error" in record else {},
        intermediate_values={
            int(step): value for step, value in record.get("evaluations", {}).items()
        },
    )
