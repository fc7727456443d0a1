"""The state of a running sweep, for the terminal."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgcli.storage import json_files
from pgcli.sweep.directory import SweepDirectory
from pgcli.sweep.plan import Plan
from pgcli.sweep.results import importance, row_of
from pgcli.sweep.study import Queue


@dataclass(frozen=True)
class Snapshot:
    """State of a sweep while it runs.

    Attributes:
      total: number of trials; None if only the time is limited.
      counts: number of trials by state.
      best: row of the best trial, or None.
      running: name and finished share of the steps of each run in progress.
      importance: share of each dimension in the differences of the score.
      left: estimated seconds left, or None.
    """

    name: str
    sampler: str
    total: int | None
    counts: Mapping[str, int]
    best: Mapping[str, Any] | None
    running: Sequence[tuple[str, float]]
    importance: Mapping[str, float]
    left: float | None

    @property
    def ended(self) -> int:
        """Number of trials that have ended."""
        return sum(self.counts[state] for state in ("complete", "pruned", "fail"))


class Watcher:
    """Makes snapshots of a running sweep."""

    def __init__(
        self,
        directory: SweepDirectory,
        plan: Plan,
        queue: Queue,
        workers: int,
        end: float | None,
    ) -> None:
        """Begins; `end` is the time at which the sweep ends, or None."""
        self._directory, self._plan, self._queue = directory, plan, queue
        self._workers, self._end = workers, end
        self._importance: tuple[int, Mapping[str, float]] = 0, {}

    def snapshot(self) -> Snapshot:
        """The state now."""
        trials, counts = self._queue.trials(), self._queue.counts()
        done = [t for t in trials if t.state.name == "COMPLETE"]
        best = max(done, key=lambda t: (t.value, -t.number), default=None)
        if self._importance[0] != len(done):
            self._importance = len(done), importance(self._queue)
        # one run may contain all trials
        numbers = [t.number for t in trials if t.state.name == "RUNNING"]
        runs = {self._directory.run(n).name: n for n in numbers}
        return Snapshot(
            name=self._directory.path.resolve().name,
            sampler=self._plan.file.sampler,
            total=self._plan.num_trials,
            counts=counts,
            best=None if best is None else row_of(self._directory, best),
            running=[(name, self._share(n)) for name, n in runs.items()],
            importance=self._importance[1],
            left=self._left(counts, [self._share(n) for n in numbers]),
        )

    def _share(self, number: int) -> float:
        """Finished share of the steps of a running trial."""
        row = json_files.last_row(self._directory.run(number).metrics_jsonl)
        return min(1.0, (row.get("steps") or 0) / self._plan.first.steps)

    def _left(self, counts: Mapping[str, int], shares: Sequence[float]) -> float | None:
        """Seconds left, by the mean time of the trials that have ended."""
        until = None if self._end is None else max(0.0, self._end - time.monotonic())
        spans = [t.duration for t in self._queue.trials() if t.duration is not None]
        if self._plan.num_trials is None or not spans:
            return until
        each = float(sum(span.total_seconds() for span in spans)) / len(spans)
        left = each * (counts["waiting"] + sum(1 - x for x in shares)) / self._workers
        return left if until is None else min(left, until)
