"""A process that copies the logs of a run to a logger that may block, fail or hang.

It reads what the run appends to its logs, so training never waits for it, and nothing
is lost while a service does not answer. Run as `python -m … NAME PATH`; the run ends
when its stdin does.
"""

import contextlib
import json
import os
import selectors
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from pgcli.config.load import of_run
from pgcli.storage import json_files
from pgcli.storage.loggers import LOGGERS
from pgcli.storage.loggers.base import LoggedRun, Logger, Outcome
from pgcli.storage.loggers.names import Group, final, grouped
from pgcli.storage.loggers.write_errors import Report, switched_off
from pgcli.storage.run_directory import RunDirectory

POLL_SECONDS = 1.0
ROWS, ITERATIONS = 500, 5
"""Rows of metrics that are logged per poll, but so many iterations of all members at
least; of more, evenly spaced ones."""

BLOCK = 8 << 20
"""Bytes of a log that are read at once."""

LAST_SECONDS = 600.0
"""Time for the last uploads after the run has ended."""

NICENESS = 10


class Tail:
    """The rows that are appended to a log."""

    def __init__(self, path: Path, after_step: int, most: int | None) -> None:
        """Begins with the rows after a step; `most` limits the rows of a block."""
        self.path, self.step, self._most = path, after_step, most
        self._after_step = after_step
        self._position = 0

    def rows(self) -> tuple[list[dict[str, Any]], bool]:
        """(new rows, whether there are more)."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._position)
                data = file.read(BLOCK)
        except FileNotFoundError:
            return [], False
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole)
        rows = []
        for line in self._evenly(whole.splitlines()):
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                if row["steps"] > self._after_step:
                    rows.append(row)
        if rows:
            self.step = max(self.step, *(row["steps"] for row in rows))
        return rows, len(data) == BLOCK and bool(whole)

    def _evenly(self, lines: list[bytes]) -> list[bytes]:
        """All lines, or of too many those of every n-th iteration and the last ones."""
        if self._most is None or len(lines) <= self._most:
            return lines
        every = -(-len(lines) // self._most)
        head = b'{"iteration":'  # of every row

        def iteration(line: bytes) -> int:
            number = line.removeprefix(head).split(b",", 1)[0]
            return int(number) if number.isdigit() else 0

        last = iteration(lines[-1])
        return [x for x in lines if (n := iteration(x)) % every == 0 or n == last]


def follow(
    run: RunDirectory,
    name: str,
    ended: Callable[[float], Outcome | None],
    report: Report,
) -> None:
    """Copies the logs of a run to a logger until the run ends.

    `ended` waits for some seconds, and returns how the run has ended, or None.
    """
    # what an earlier process of this run has logged
    path, identity = run.path / f"{name}.json", run.identity()
    state = json_files.read_object(path) or {}
    logged: dict[str, int] = state.get("logged", {})
    config = of_run(run.config_yaml).config
    logged_run = LoggedRun(run.path, config, ids=dict(state.get("ids", {})))

    def store() -> None:
        # never into a directory that this run did not make
        if run.identity() == identity:
            tree = {"ids": logged_run.ids, "logged": logged}
            json_files.write_object(path, tree)

    logger: Logger = LOGGERS[name](logged_run, report.warn)
    store()
    report.note(f"{name}: {logger.where}")
    most = max(ROWS, ITERATIONS * len(logged_run.members))
    tails: Mapping[Group, Tail] = {
        "train": Tail(run.metrics_jsonl, logged.get("train", 0), most),
        "time": Tail(run.timing_jsonl, logged.get("time", 0), ROWS),
        "eval": Tail(run.eval_jsonl, logged.get("eval", 0), None),
    }
    outcome: Outcome | None = None
    while outcome is None:
        outcome = ended(POLL_SECONDS)
        for group, tail in tails.items():
            more = True
            while more:
                rows, more = tail.rows()
                for row in rows:
                    for member in _members_of(group, row, len(logged_run.members)):
                        logger.write(member, row["steps"], grouped(group, row))
                if rows:
                    logger.flush()
        steps: dict[str, int] = {group: tail.step for group, tail in tails.items()}
        if steps != logged:
            logged |= steps
            store()
    result = run.read_result() if outcome == "finished" else None
    if result is not None:
        for member, values in final(result):
            logger.write(member, result["steps"]["used"], values)
        logger.flush()
    logger.finish(outcome)


def _members_of(group: Group, row: Mapping[str, Any], count: int) -> Iterator[int]:
    """The members that a row belongs to: all of them, for the time."""
    yield from range(count) if group == "time" else [int(row.get("member", 0))]


def _wait_for_end(seconds: float) -> Outcome | None:
    """How the run has ended, by the line that it has written; None if it has not."""
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        if not selector.select(seconds):
            return None
    text = os.read(0, 64).decode().strip()
    watchdog = threading.Timer(LAST_SECONDS, os._exit, [1])
    watchdog.daemon = True
    watchdog.start()
    return cast(Outcome, text) if text in ("finished", "stopped") else "killed"


def main(name: str, path: str) -> None:
    """Follows a run; messages go to stdout as lines of JSON, all else to stderr."""
    messages = os.dup(1)
    os.dup2(2, 1)
    os.nice(NICENESS)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the run decides when it ends

    def send(kind: str, text: str) -> None:
        with contextlib.suppress(OSError):  # the run may have ended
            os.write(messages, json.dumps([kind, text]).encode() + b"\n")

    report = Report(partial(send, "warn"), partial(send, "note"))
    try:
        follow(RunDirectory(Path(path)), name, _wait_for_end, report)
    except BaseException as error:  # the package of the logger may raise anything
        report.warn(switched_off(name, error))
        raise


if __name__ == "__main__":
    main(*sys.argv[1:])
