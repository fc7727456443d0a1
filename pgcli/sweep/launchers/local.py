"""Worker processes on this machine."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

from pgcli.sweep.directory import SweepDirectory
from pgcli.sweep.study import ANOTHER_PROCESS

ENDS_SECONDS = 30.0
"""Time for workers to save and end."""


class LocalWorkers:
    """Worker processes, each on its share of the cores."""

    def __init__(self, directory: SweepDirectory, count: int) -> None:
        """Starts no process yet."""
        self._directory = directory
        self._shares = shares(sorted(os.sched_getaffinity(0)), count)
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self.failures = 0

    def fill(self, wanted: int) -> None:
        """Removes workers that have ended, and starts new ones up to `wanted`."""
        for slot, process in list(self._running.items()):
            code = process.poll()
            if code is None:
                continue
            del self._running[slot]
            if code > 0 and code != ANOTHER_PROCESS:
                self.failures += 1
            elif code == 0:
                self.failures = 0
        for slot in range(len(self._shares)):
            if slot not in self._running and len(self._running) < wanted:
                self._running[slot] = self._start(slot)

    def log(self, slot: int) -> str:
        """Path of the log of a worker."""
        return str(self._directory.workers / f"worker-{slot}.log")

    def _start(self, slot: int) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "pgcli", "sweep", "worker"]
        command += [str(self._directory.path), "--parent", str(os.getpid())]
        with open(self.log(slot), "ab") as log, _pinned(self._shares[slot]):
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    def stop(self) -> None:
        """Asks the workers to save and end, and waits; kills those that do not."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(ENDS_SECONDS)
            process.kill()
            process.wait()


def shares(cores: Sequence[int], count: int) -> list[set[int]]:
    """The cores of each of `count` workers: equal parts, or one core if they are few.

    A worker on its own cores starts JAX with a number of threads that depends on
    nothing else.
    """
    size = max(1, len(cores) // count)
    return [
        {cores[(slot * size + i) % len(cores)] for i in range(size)}
        for slot in range(count)
    ]


@contextlib.contextmanager
def _pinned(cores: set[int]) -> Iterator[None]:
    """Children started inside the block inherit these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
