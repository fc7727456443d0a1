"""Worker processes on this machine."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence

from pgcli.sweep.directory import SweepDirectory
from pgcli.sweep.launchers.base import ENDS_SECONDS, Workers, worker_command


class LocalWorkers(Workers):
    """Worker processes, each on its share of the cores."""

    def __init__(self, directory: SweepDirectory, count: int) -> None:
        super().__init__(directory, count)
        self._shares = shares(sorted(os.sched_getaffinity(0)), count)

    def _start(self, slot: int) -> "subprocess.Popen[bytes]":
        command = worker_command(str(self._directory.path), os.getpid())
        return start(command, self.log(slot), self._shares[slot])

    def _code(self, worker: "subprocess.Popen[bytes]") -> int | None:
        return worker.poll()

    def stop(self) -> None:
        """See `Workers.stop`."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            end(process)


def start(command: list[str], log: str, cores: set[int]) -> "subprocess.Popen[bytes]":
    """Starts a worker on some cores, with its output in a log."""
    with open(log, "ab") as file, _pinned(cores):
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, process_group=0
        )


def end(process: "subprocess.Popen[bytes]") -> None:
    """Asks a worker to save and end, and waits; kills it if it does not."""
    process.terminate()
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
