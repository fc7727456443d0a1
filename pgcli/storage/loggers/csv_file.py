"""Metrics as `metrics.csv`: columns for the step and the member, and one per metric."""

import contextlib
import csv
import io
from collections.abc import Mapping
from typing import Any

from pgcli.storage import files
from pgcli.storage.loggers.base import LoggedRun, Outcome
from pgcli.storage.loggers.write_errors import Guard, Warn, default_warn

STEP = "step"


class CsvLogger:
    """Appends rows. A metric that appears later adds a column by rewriting the file."""

    def __init__(self, run: LoggedRun, warn: Warn = default_warn) -> None:
        self.path = run.path / "metrics.csv"
        self.where = str(self.path)
        self._members = run.members
        self._guard = Guard(f"{self.path.name} cannot be written", warn)
        self._file: files.OpenFile | None = None
        self._columns = [STEP]
        self._stale = True  # the file may contain a partial row
        self._after_step = run.after_step

    def write(self, member: int, step: int, values: Mapping[str, float]) -> None:
        """Appends a row; missing values are left empty."""
        row = {STEP: step, **self._members[member].label, **values}
        self._guard(lambda: self._write(row))

    def flush(self) -> None:
        """See `Logger.flush`: every row is written at once."""

    def finish(self, outcome: Outcome) -> None:
        """Closes the file."""
        self._guard.report()
        self._release()

    def _release(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _write(self, row: Mapping[str, Any]) -> None:
        new = [name for name in row if name not in self._columns]
        if new or self._stale:
            self._rewrite(new)
        file = self._file = self._file or files.OpenFile(self.path)
        self._stale = True
        file.append(self._line([row.get(name) for name in self._columns]))
        self._stale = False
        self._after_step = int(row[STEP])

    def _rewrite(self, new: list[str]) -> None:
        self._release()
        rows = self._kept_rows()
        columns = list(
            dict.fromkeys([STEP, *(rows[0] if rows else ()), *self._columns])
        )
        columns += [name for name in new if name not in columns]
        lines = [self._line(columns)]
        lines += [self._line([row.get(name) for name in columns]) for row in rows]
        files.replace_bytes(self.path, b"".join(lines))
        self._columns = columns

    def _kept_rows(self) -> list[dict[str, str]]:
        """The complete rows up to the step at which the run was resumed."""
        if self._after_step is None or not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8", errors="replace")
        whole = text[: text.rfind("\n") + 1]
        kept = []
        for row in csv.DictReader(io.StringIO(whole)):
            with contextlib.suppress(TypeError, ValueError):
                if int(row[STEP]) <= self._after_step:
                    kept.append({name: row[name] or "" for name in row if name})
        return kept

    @staticmethod
    def _line(cells: list[Any]) -> bytes:
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerow(cells)
        return stream.getvalue().encode()
