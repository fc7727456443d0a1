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
from pgcli.storage.loggers.base import LoggedRun, Outcome
from pgcli.storage.loggers.write_errors import Guard, Warn, default_warn

SCORES = ("final/return_mean", "eval/return_mean", "train/return_mean")
"""Metrics of the tab HParams."""

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
    """A logger of scalars to new event files in `tensorboard/`, one per member."""

    def __init__(self, run: LoggedRun, warn: Warn = default_warn) -> None:
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.proto.summary_pb2 import Summary
        from tensorboardX.record_writer import register_writer_factory
        from tensorboardX.summary import hparams

        register_writer_factory(SCHEME, SimpleNamespace(open=EventFile))
        self._event, self._summary = Event, Summary
        self._guard = Guard("tensorboard cannot be written", warn)
        directory = run.path / "tensorboard"
        self.where = str(directory)
        self._directories = [directory / member.name for member in run.members]
        self._writers: dict[int, Any] = {}
        self._first = []  # events that precede the first row, by member
        for member in run.members:
            first = []
            if run.after_step is not None:  # readers drop the steps from this one on
                start = SessionLog(status=SessionLog.START)
                first.append(self._new(run.after_step + 1, session_log=start))
            # without the end of the session, which is optional
            for summary in hparams(member.hyperparameters(), dict.fromkeys(SCORES))[:2]:
                first.append(self._new(0, summary=summary))
            self._first.append(first)

    def _new(self, step: int, **content: Any) -> Any:
        return self._event(wall_time=time.time(), step=step, **content)

    def write(self, member: int, step: int, values: Mapping[str, float]) -> None:
        """Appends an event."""
        pairs = values.items()
        summary = self._summary(
            value=[self._summary.Value(tag=tag, simple_value=x) for tag, x in pairs]
        )
        event = self._new(step, summary=summary)
        self._guard(lambda: self._append(member, event))

    def flush(self) -> None:
        """See `Logger.flush`: every event is written at once."""

    def finish(self, outcome: Outcome) -> None:
        """Closes the files. TensorBoard cannot show `curve.svg`."""
        self._guard.report()
        for writer in self._writers.values():
            with contextlib.suppress(OSError):
                writer.close()
        self._writers = {}

    def _append(self, member: int, event: Any) -> None:
        from tensorboardX.event_file_writer import EventsWriter

        if member not in self._writers:
            directory = self._directories[member]
            files.ensure_directory(directory)
            path = f"{SCHEME}:{directory / 'events'}"
            self._writers[member] = EventsWriter(path, f".{os.getpid()}")
        writer = self._writers[member]
        for each in (*self._first[member], event):
            writer.write_event(each)
        writer.flush()
        self._first[member] = []
