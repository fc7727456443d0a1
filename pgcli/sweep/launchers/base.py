"""What the launchers of workers share."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from pgcli.sweep.directory import SweepDirectory
from pgcli.sweep.study import ANOTHER_PROCESS

ENDS_SECONDS = 30.0
"""Time for workers to save and end."""


class Workers(ABC):
    """Workers of a sweep, each in a slot; `failures` are those since a success."""

    def __init__(self, directory: SweepDirectory, count: int) -> None:
        self._directory, self._count = directory, count
        self._running: dict[int, Any] = {}
        self.failures = 0

    def fill(self, wanted: int) -> None:
        """Removes workers that have ended, and starts new ones up to `wanted`."""
        for slot, worker in list(self._running.items()):
            code = self._code(worker)
            if code is None:
                continue
            del self._running[slot]
            if code > 0 and code != ANOTHER_PROCESS:
                self.failures += 1
            elif code == 0:
                self.failures = 0
        for slot in range(self._count):
            if slot not in self._running and len(self._running) < wanted:
                self._running[slot] = self._start(slot)

    def log(self, slot: int) -> str:
        """Path of the log of a worker."""
        return str(self._directory.workers / f"worker-{slot}.log")

    @abstractmethod
    def stop(self) -> None:
        """Asks the workers to save and end, and waits; kills those that do not."""

    @abstractmethod
    def _start(self, slot: int) -> Any:
        """Starts a worker."""

    @abstractmethod
    def _code(self, worker: Any) -> int | None:
        """The exit code of a worker, negative for a signal; None while it runs."""


Launch = Callable[[SweepDirectory, int], Workers]
"""(directory, number of workers) -> workers."""


def worker_command(path: str, parent: int | None = None) -> list[str]:
    """The words that start a worker; it ends with its process `parent`."""
    words = [sys.executable, "-m", "pgcli", "sweep", "worker", path]
    return words if parent is None else [*words, "--parent", str(parent)]
