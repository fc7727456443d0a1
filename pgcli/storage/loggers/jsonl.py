"""JSON lines: the record of a run, one row per line."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgcli.storage.files import OpenFile
from pgcli.storage.json_files import jsonable
from pgcli.storage.loggers.write_errors import Guard, Warn, default_warn


class JsonlWriter:
    """Appends rows to a file. A failed write gives one warning and raises nothing.

    Each row is one write of one line. If the process is killed, at most the last line
    is incomplete. It is removed when the file is opened again.
    """

    def __init__(self, path: Path, warn: Warn = default_warn) -> None:
        """Opens `path` for appending; if that fails, the next write tries again."""
        self.path = path
        self._warn = warn
        self._guard = Guard(f"{path.name} cannot be written", warn)
        self._closed = False
        self._torn = True
        self._file: OpenFile | None = None
        self._guard(self._ready)

    def write(self, row: Mapping[str, Any]) -> None:
        """Appends a row; NaN and infinity become null. Never raises OSError."""
        line = json.dumps(jsonable(row), allow_nan=False, separators=(",", ":"))
        self._guard(lambda: self._append(line.encode("ascii") + b"\n"))

    def offset(self) -> int:
        """Size of the file in bytes, for `truncate` after a resume."""
        try:
            return self._file.size if self._file is not None else 0
        except OSError:
            return 0

    def truncate(self, offset: int) -> None:
        """Removes the rows after `offset`.

        Warns if the file is shorter, because rows were lost in failed writes.
        """
        if self.offset() < offset:
            self._warn(
                f"{self.path.name} has {self.offset()} bytes, but the checkpoint "
                f"recorded {offset}: earlier rows were lost"
            )

        def cut() -> None:
            file = self._ready()
            if file.size > offset:
                file.truncate(offset)
            self._mend(file)

        self._guard(cut)

    def sync(self) -> None:
        """Makes the rows durable. Call it before a checkpoint records `offset`."""
        self._guard(lambda: self._ready().sync())

    def close(self) -> None:
        """Closes the file. Later writes raise ValueError."""
        self._closed = True
        self._guard.report()
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _append(self, line: bytes) -> None:
        file = self._ready()
        self._torn = True
        file.append(line)
        self._torn = False

    def _ready(self) -> OpenFile:
        """The open file, ending in a complete line."""
        if self._closed:
            raise ValueError(f"{self.path.name} is closed")
        if self._file is None:
            self._file = OpenFile(self.path)
        if self._torn:
            self._mend(self._file)
        return self._file

    def _mend(self, file: OpenFile) -> None:
        """Removes an incomplete last line."""
        end = size = file.size
        while end:
            start = max(0, end - 65536)
            newline = file.read(start, end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            file.truncate(end)
        self._torn = False
