"""The process that follows a run for one logger, as seen by the run."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, cast

from pgcli.storage.loggers.base import Outcome
from pgcli.storage.loggers.write_errors import Report

_MODULE = "pgcli.storage.loggers.follow"


class Follower:
    """A process that copies the logs of a run to a logger; it never blocks the run."""

    def __init__(self, name: str, path: Path, report: Report) -> None:
        """Starts the process; what the logger prints goes to `NAME.log` in `path`."""
        self.name, self._report, self._log = name, report, path / f"{name}.log"
        self._unread, self._is_over = b"", False
        search_path = os.pathsep.join(each or os.getcwd() for each in sys.path)
        with self._log.open("ab") as output:
            # its own process group, since Ctrl-C is handled by the run
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULE, name, str(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                bufsize=0,
                process_group=0,
                env={**os.environ, "PYTHONPATH": search_path},
            )
        self._stdin = cast(IO[bytes], self._process.stdin)
        self._stdout = cast(IO[bytes], self._process.stdout)
        os.set_blocking(self._stdout.fileno(), False)

    def poll(self) -> bool:
        """Passes on its messages; returns whether the process is running."""
        if self._is_over:
            return False
        code = self._process.poll()
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._stdout.fileno(), 65536):
                self._unread += data
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            kind, text = json.loads(line)
            (self._report.note if kind == "note" else self._report.warn)(text)
        if code is None:
            return True
        # an exception was reported by the process itself
        if code < 0:
            self._report.warn(
                f"the process of the logger {self.name} was ended by signal {-code}; "
                f"training continues without it. Its output is in {self._log}"
            )
        self._is_over = True
        self._stdin.close()
        self._stdout.close()
        return False

    def end(self, outcome: Outcome) -> None:
        """Announces the end of the run; the process ends after its last uploads."""
        with contextlib.suppress(OSError, ValueError):  # it has ended already
            self._stdin.write(f"{outcome}\n".encode())
            self._stdin.close()
