"""Reporters for the terminal during training: a view redrawn in place, or lines."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgcli.cli.terminal.console import Terminal
from pgcli.cli.terminal.formatting import clock, summary
from pgcli.cli.terminal.live_frame import Frame, header, render, seconds_left
from pgcli.cli.terminal.redraw import Redrawn
from pgcli.errors import NotSavedError, PgcliError
from pgcli.training.advice import Advisor
from pgcli.training.reporter import Reporter, RunInfo, Status

if TYPE_CHECKING:
    from pgcli.config.schema import RunConfig
    from pgcli.training.distributed.processes import Processes

LINE_SECONDS = 5.0

# (name in a line, key in the metrics)
LINE_METRICS = (
    ("return", "return_mean"),
    ("length", "length_mean"),
    ("kl", "kl"),
    ("clip", "clip_fraction"),
    ("entropy", "entropy"),
    ("value_loss", "value_loss"),
    ("explained_variance", "explained_variance"),
)


class LineReporter(Reporter):
    """A reporter for files and pipes: one greppable `key=value` line per interval."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._advisor = Advisor()
        self._last_line = 0.0
        self._status: Status | None = None
        self._shown: Status | None = None

    def started(self, info: RunInfo) -> None:
        """Reports the run, its directory and its device."""
        self._terminal.run_path = Path(info.path)
        self._terminal.note(f"{header(info)} · {info.path}")
        self._say_resumed(info)

    def compiling(self) -> None:
        """Reports that the first chunk is being compiled."""
        self._terminal.note("compiling…")

    def progress(self, status: Status) -> None:
        """Writes a line if `LINE_SECONDS` have passed since the last one."""
        self._status = status
        self._advise(status)
        now = time.monotonic()
        if now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            self._line()

    def evaluating(self, done: int, episodes: int, left: float | None) -> None:
        """Writes a line if `LINE_SECONDS` have passed since the last one."""
        now = time.monotonic()
        if now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            self._terminal.note(f"evaluating {done}/{episodes} left={clock(left)}")

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """Writes a line with the state of training and one with the evaluation."""
        self._line()
        self._terminal.note(evaluation_line(row))

    def saved(self, path: Path, iteration: int) -> None:
        """Writes a line, with `--verbose`."""
        self._terminal.detail(f"saved iteration={iteration} path={path}")

    def note(self, message: str) -> None:
        """Writes a message."""
        self._terminal.note(message)

    def warn(self, message: str) -> None:
        """Writes a warning."""
        self._terminal.warn(message)

    def abandon(self, error: PgcliError) -> None:
        """Reports the error and ends the process; for a thread other than the main."""
        self.close()
        self._terminal.abandon(error)

    def close(self) -> None:
        """Writes the last state of training if it was not shown."""
        self._line()

    def _line(self) -> None:
        if self._status is not None and self._status is not self._shown:
            self._shown = self._status
            self._terminal.note(progress_line(self._status))

    def _advise(self, status: Status) -> None:
        for row in status.rows:
            for message in self._advisor.advise(row):
                self.warn(message)

    def _say_resumed(self, info: RunInfo) -> None:
        if info.resume_level:
            self._terminal.note(
                f"resumed at step {info.first_step:,}: {info.resume_level}"
            )


class LiveReporter(LineReporter):
    """A reporter that redraws a view in place on stderr."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(terminal)
        self._frame = Frame()
        self._live = Redrawn(
            terminal, lambda width: render(self._frame, width, unicode=terminal.unicode)
        )

    def started(self, info: RunInfo) -> None:
        """Starts drawing."""
        self._terminal.run_path = Path(info.path)
        path = Path(self._terminal.short(str(info.path)))
        self._frame.info = dataclasses.replace(info, path=path)
        self._say_resumed(info)
        self._live.start()

    def compiling(self) -> None:
        """Shows the spinner until the next report of progress."""
        self._frame.compiling_since = time.monotonic()

    def progress(self, status: Status) -> None:
        """Passes the numbers to the view."""
        self._frame.update(status)
        self._advise(status)

    def evaluating(self, done: int, episodes: int, left: float | None) -> None:
        """Shows the number of episodes until the next report of progress."""
        self._frame.evaluating, self._frame.left = (done, episodes), left

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """Writes a line, with `--verbose`; the view shows the best evaluation."""
        self._terminal.detail(evaluation_line(row))

    def saved(self, path: Path, iteration: int) -> None:
        """Stores the iteration for the view."""
        self._frame.saved_iteration = iteration
        super().saved(path, iteration)

    def close(self) -> None:
        """Draws the last state, which stays on the terminal."""
        self._frame.compiling_since = self._frame.evaluating = None
        self._frame.closed = True
        self._live.stop()


class EpisodeLines:
    """Writes a line with the progress of an evaluation at each interval."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._start = self._last_line = time.monotonic()

    def __call__(self, done: int, episodes: int) -> None:
        """Writes a line if `LINE_SECONDS` have passed since the last one."""
        now = time.monotonic()
        if now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            pace = done / (now - self._start)
            left = clock((episodes - done) / pace if done else None)
            self._terminal.note(f"evaluating {done}/{episodes} left={left}")


def progress_line(status: Status) -> str:
    """The state of training as `key=value` words in a fixed order."""
    speed = status.steps_per_second
    words = [
        "progress",
        f"steps={status.steps}/{status.budget}",
        f"iteration={status.iteration}",
    ]
    words += [
        f"{name}={_plain(status.metrics[key])}"
        for name, key in LINE_METRICS
        if key in status.metrics
    ]
    words += [
        f"best_eval={_plain(status.best_eval)}",
        f"steps_per_second={speed:.0f}",
        f"left={clock(seconds_left(status))}",
    ]
    return " ".join(words)


def evaluation_line(row: Mapping[str, Any]) -> str:
    """An evaluation as `key=value` words."""
    low, high = row.get("return_ci") or (None, None)
    raw = row.get("raw_return_mean")
    return (
        f"eval steps={row.get('steps')} return={_plain(row.get('return_mean'))} "
        f"low={_plain(low)} high={_plain(high)} episodes={row.get('episodes')}"
        + (f" distinct={row['n_distinct']}" if row.get("n_distinct") == 1 else "")
        + ("" if raw is None else f" raw_return={_plain(raw)}")
    )


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


@contextmanager
def reporting(terminal: Terminal) -> Iterator[Reporter]:
    """Yields a reporter for this terminal and closes it in any case."""
    kind = LiveReporter if terminal.redraws else LineReporter
    reporter = kind(terminal)
    try:
        yield reporter
    finally:
        reporter.close()


def watch(
    terminal: Terminal, train: Callable[[Reporter], dict[str, Any]]
) -> dict[str, Any]:
    """Shows a training run; answers its result, also one that could not be saved."""
    try:
        with reporting(terminal) as reporter:
            result = train(reporter)
    except NotSavedError as error:
        if error.result and not terminal.json:
            terminal.answer(summary(error.result), error.result)
        raise
    terminal.answer(summary(result), result)
    return result


def follow(
    terminal: Terminal, processes: "Processes", config: "RunConfig | None"
) -> None:
    """Takes part in a run of several processes, as another one than process 0."""
    from pgcli.training.distributed.split_run import follow

    with contextlib.closing(LineReporter(terminal)) as reporter:
        data = follow(processes, config, reporter)
    text = f"process {processes.index} of {processes.count}: the run has its result"
    terminal.answer(text, data)
