"""All loggers of a run. One that raises is switched off with one warning."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pgcli.storage.loggers import IN_BACKGROUND, LOGGERS
from pgcli.storage.loggers.background import Follower
from pgcli.storage.loggers.base import LoggedRun, Logger, Outcome
from pgcli.storage.loggers.names import Group, final, grouped
from pgcli.storage.loggers.write_errors import Report, switched_off

FINISH_SECONDS = 30.0
"""Time to wait for the last uploads, after the result is written."""

NOTE_SECONDS = 2.0
"""Time until it is said that uploads are waited for."""

_PAUSE_SECONDS = 0.05

Entry = tuple[int, int, dict[str, float]]
"""(member, step, numbers under grouped names)."""


class Sinks:
    """Passes the rows of a run's logs to its loggers, under grouped names."""

    def __init__(self, run: LoggedRun, report: Report) -> None:
        self._report = report
        self._loggers: dict[str, Logger] = {}
        self._followers: list[Follower] = []
        self._new: list[Entry] = []
        for name in dict.fromkeys(run.config.log.sinks):
            try:
                if name in IN_BACKGROUND:
                    self._followers.append(Follower(name, run.path, report))
                else:
                    self._loggers[name] = LOGGERS[name](run, report.warn)
            except Exception as error:  # a missing or broken package, a full disk
                report.warn(switched_off(name, error))

    def metrics(self, row: Mapping[str, Any]) -> None:
        """Receives a row of metrics.jsonl, until the time of its chunk is known."""
        if self._loggers:
            self._new.append(_entry("train", row))

    def timing(self, row: Mapping[str, Any]) -> None:
        """Logs the rows of a chunk; the last one of each member has the time, too."""
        newest = {member: values for member, _, values in self._new}
        for values in newest.values():
            values |= grouped("time", row)
        self._write()
        for follower in self._followers:
            follower.poll()

    def evaluation(self, row: Mapping[str, Any]) -> None:
        """Logs a row of eval.jsonl."""
        self._new.append(_entry("eval", row))
        self._write()

    def finish(
        self, result: Mapping[str, Any] | None, stop: Callable[[], bool] | None = None
    ) -> None:
        """Logs the result, if there is one, and closes the loggers.

        Waits for the last uploads until `stop` returns True; not at all if it is None.
        """
        # nothing is left to do in a second call
        outcome: Outcome = "stopped" if result is None else "finished"
        if result is not None:
            steps = result["steps"]["used"]
            self._new += [(member, steps, values) for member, values in final(result)]
        self._write()
        for name in list(self._loggers):
            self._call(name, lambda logger: logger.finish(outcome))
        self._loggers = {}
        for follower in self._followers:
            follower.end(outcome)
        self._wait(stop)
        self._followers = []

    def _wait(self, stop: Callable[[], bool] | None) -> None:
        start = time.monotonic()
        end = start + (FINISH_SECONDS if stop else 0.0)
        is_noted = False
        while busy := [each.name for each in self._followers if each.poll()]:
            if time.monotonic() >= end or (stop is not None and stop()):
                names = " and ".join(busy)
                self._report.note(
                    f"the last uploads of {names} continue in the background"
                )
                return
            if not is_noted and time.monotonic() >= start + NOTE_SECONDS:
                self._report.note(f"waiting for {' and '.join(busy)}; Ctrl-C skips it")
                is_noted = True
            time.sleep(_PAUSE_SECONDS)

    def _write(self) -> None:
        new, self._new = self._new, []
        for name in list(self._loggers):
            self._call(name, lambda logger: _write_all(logger, new))

    def _call(self, name: str, action: Callable[[Logger], object]) -> None:
        try:
            action(self._loggers[name])
        except Exception as error:  # the package of the logger may raise anything
            del self._loggers[name]
            self._report.warn(switched_off(name, error))


def _write_all(logger: Logger, entries: Sequence[Entry]) -> None:
    for entry in entries:
        logger.write(*entry)


def _entry(group: Group, row: Mapping[str, Any]) -> Entry:
    return int(row.get("member", 0)), int(row["steps"] or 0), grouped(group, row)
