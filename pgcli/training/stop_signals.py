"""Signals as requests to stop at the next safe point."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pgcli.errors import ExitCode, PgcliError

_STOPS = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]


class Interrupted(PgcliError):  # noqa: N818 - a request, not an error
    """Training was stopped by a signal, after a committed checkpoint."""

    def __init__(
        self, code: ExitCode, result: dict[str, Any], help: str, *, saved: bool = True
    ) -> None:
        outcome = "is committed" if saved else "could not be saved; the one before is"
        message = f"stopped by a signal; a checkpoint {outcome}"
        super().__init__(message, help=help, result=result)
        self.exit_code = code


class EvaluationStopped(Exception):  # noqa: N818 - a request, not an error
    """An evaluation was ended by a signal and has no result."""


def never() -> bool:
    """False: no stop is requested."""
    return False


class StopFlag:
    """The exit code of the signal that requested a stop, or None."""

    def __init__(self) -> None:
        self.code: ExitCode | None = None

    def _request(self, number: int, frame: FrameType | None) -> None:
        # a second INT interrupts at once
        if self.code is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        interrupted = number == signal.SIGINT
        self.code = ExitCode.INTERRUPTED if interrupted else ExitCode.TERMINATED


@contextmanager
def stop_on_signal() -> Iterator[StopFlag]:
    """A flag set by INT, TERM and USR1 inside the block; a second INT interrupts.

    Outside the main thread, signals cannot be handled and the flag is never set.
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = {number: signal.signal(number, flag._request) for number in _STOPS}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
