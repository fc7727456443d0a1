"""Metrics as TensorBoard event files, written by tensorboardX (an extra).

`SummaryWriter` hands events to a thread. If a write fails there, the queue fills up and
training blocks. `EventsWriter` writes in the calling thread.
"""

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pgcli.storage import files
from pgcli.storage.loggers.jsonl import jsonable
from pgcli.storage.loggers.write_errors import Guard, Warn, default_warn

SCHEME = "pgcli"
"""Prefix of the paths that tensorboardX opens as `EventFile`."""


class EventFile:
    """An event file for tensorboardX; `flush` is a single write of whole records.

    The file class of tensorboardX calls fsync at every flush.
    """

    def __init__(self, path: str) -> None:
        """Opens `pgcli:PATH`."""
        self._file = files.OpenFile(Path(path.removeprefix(f"{SCHEME}:")))
        self._whole = self._file.size
        self._pending = b""

    def write(self, data: bytes) -> None:
        """Stores `data` until the next flush."""
        self._pending += data

    def flush(self) -> None:
        """Appends the pending data; drops it if that fails."""
        data, self._pending = self._pending, b""
        if self._file.size > self._whole:  # part of a write that failed
            self._file.truncate(self._whole)
        if data:
            self._file.append(data)
        self._whole += len(data)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class TensorBoardLogger:
    """A logger of scalars to a new event file in `tensorboard/`."""

    def __init__(
        self, directory: Path, *, after_step: int | None, warn: Warn = default_warn
    ) -> None:
        """Prepares an event file; see `pgcli.storage.loggers.base.Logger`."""
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.proto.summary_pb2 import Summary
        from tensorboardX.record_writer import register_writer_factory

        register_writer_factory(SCHEME, SimpleNamespace(open=EventFile))
        self._event, self._summary = Event, Summary
        self._directory = directory / "tensorboard"
        self._guard = Guard("tensorboard cannot be written", warn)
        self._writer: Any = None
        self._first = []  # events that precede the first row
        if after_step is not None:  # readers drop the steps from this one on
            start = SessionLog(status=SessionLog.START)
            event = Event(wall_time=time.time(), step=after_step + 1, session_log=start)
            self._first = [event]

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Appends the metrics that are finite numbers."""
        values = [
            self._summary.Value(tag=name, simple_value=value)
            for name, value in jsonable(dict(metrics)).items()
            if isinstance(value, int | float)
        ]
        summary = self._summary(value=values)
        event = self._event(wall_time=time.time(), step=step, summary=summary)
        self._guard(lambda: self._append(event))

    def close(self) -> None:
        """Closes the file."""
        self._guard.report()
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()
            self._writer = None

    def _append(self, event: Any) -> None:
        from tensorboardX.event_file_writer import EventsWriter

        if self._writer is None:
            files.ensure_directory(self._directory)
            path = f"{SCHEME}:{self._directory / 'events'}"
            self._writer = EventsWriter(path, f".{os.getpid()}")
        for each in (*self._first, event):
            self._writer.write_event(each)
        self._writer.flush()
        self._first = []
