"""JSON lines: the record of a run, one row per line."""

import contextlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgcli.storage.files import OpenFile
from pgcli.storage.loggers.write_errors import Guard, Warn, default_warn


def jsonable(value: Any) -> Any:
    """`value` as JSON has it: arrays as lists, what is not finite as null."""
    if hasattr(value, "tolist"):  # of NumPy or JAX
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value


class JsonlWriter:
    """Appends rows to a file. A disk that refuses is said once and stops nothing.

    A row is one write of one line, so that a kill leaves whole lines and at most one
    broken tail, which is cut off when the file is opened again.
    """

    def __init__(self, path: Path, warn: Warn = default_warn) -> None:
        """Opens `path` for appending, at the first write if it cannot be opened now.

        Args:
          path: the file; made if it is not there.
          warn: is told, once, that rows are being lost.
        """
        self.path = path
        self._warn = warn
        self._guard = Guard(path.name, warn)
        self._closed = False
        self._torn = True
        self._file: OpenFile | None = None
        self._guard(self._ready)

    def write(self, row: Mapping[str, Any]) -> None:
        """Appends a row; NaN and infinities become null. Never raises OSError."""
        line = json.dumps(jsonable(row), allow_nan=False, separators=(",", ":"))
        self._guard(lambda: self._append(line.encode("ascii") + b"\n"))

    def offset(self) -> int:
        """Bytes written, for `truncate` after a resume."""
        try:
            return self._file.size if self._file is not None else 0
        except OSError:
            return 0

    def truncate(self, offset: int) -> None:
        """Cuts the file back to the rows that were written up to `offset`.

        A file that is shorter lost rows (a disk that refused them): that is said, and
        nothing is filled in.
        """
        if self.offset() < offset:
            self._warn(
                f"{self.path.name} has {self.offset()} bytes, the checkpoint says "
                f"{offset}: rows before it were lost"
            )

        def cut() -> None:
            file = self._ready()
            if file.size > offset:
                file.truncate(offset)
            self._mend(file)

        self._guard(cut)

    def sync(self) -> None:
        """Makes the rows durable: to be called before a checkpoint stores `offset`."""
        self._guard(lambda: self._ready().sync())

    def close(self) -> None:
        """Closes the file; later rows are refused."""
        self._closed = True
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
        """The open file, ending in a whole line."""
        if self._closed:
            raise ValueError(f"{self.path.name} is closed")
        if self._file is None:
            self._file = OpenFile(self.path)
        if self._torn:
            self._mend(self._file)
        return self._file

    def _mend(self, file: OpenFile) -> None:
        """Cuts off a last line that has no end."""
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
