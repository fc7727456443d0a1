"""A worker process as seen by its parent: start, pipes, traceback, end."""

import os
import signal
import subprocess
import sys
import time
import weakref
from typing import Any

from pgcli.envs.workers import messages
from pgcli.envs.workers.shared_memory import unnamed_file

CLOSE_SECONDS = 2.0
TRACE_SECONDS = 0.5


class ChildProcess:
    """One worker, which steps the environments of `rows`, and the pipes to it.

    A call of `closed` lets it close its environments and ends it.
    """

    def __init__(self, memory: int, rows: range) -> None:
        """Starts it; `memory` is the descriptor of the file that is shared with it."""
        self.rows = rows
        # a pipe in each direction, and a file for the traceback of a crash
        self._trace = unnamed_file("pgcli-trace")
        reads, its_writes = os.pipe()
        its_reads, writes = os.pipe()
        theirs = (its_reads, its_writes, memory, self._trace)
        try:
            # multiprocessing would run the user's `__main__` again; its own process
            # group, since Ctrl-C is handled by the parent
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pgcli.envs.workers.worker_process"]
                + [str(number) for number in (*theirs, os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=_stderr(),
                pass_fds=theirs,
                process_group=0,
                env={**os.environ, "PYTHONPATH": _search_path()},
            )
        finally:
            os.close(its_reads)
            os.close(its_writes)
        self.channel = messages.Channel(reads, writes)
        self.closed = weakref.finalize(
            self, _end, self.process, self.channel, self._trace
        )

    def trace(self, ask: bool) -> str | None:
        """The traceback that it wrote; `ask` requests one from a live process."""
        end = time.monotonic() + (TRACE_SECONDS if ask else 0.0)
        if ask:
            os.kill(self.process.pid, signal.SIGUSR2)
        while os.fstat(self._trace).st_size == 0 and time.monotonic() < end:
            time.sleep(0.01)
        text = os.pread(self._trace, os.fstat(self._trace).st_size, 0)
        return text.decode(errors="replace") or None


def _end(process: Any, channel: messages.Channel, trace: int) -> None:
    """Lets a worker close its environments, and kills it if it takes too long."""
    channel.close()
    try:
        process.wait(CLOSE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    os.close(trace)


def _stderr() -> int:
    """Descriptor for a worker's stdout: stderr, since our stdout is for results."""
    try:
        os.fstat(2)
    except OSError:
        return subprocess.DEVNULL
    return 2


def _search_path() -> str:
    """The present search path for modules, for a child process."""
    return os.pathsep.join(path or os.getcwd() for path in sys.path)
