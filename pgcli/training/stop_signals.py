"""Signals as requests to stop at the next safe point.

A rollout that takes long is given up, and so is whatever else does not end in time: the
run continues from its last consistent state, or else from its last checkpoint.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from pgcli.envs.waiting import CALLS, Abandoned
from pgcli.errors import ExitCode, PgcliError
from pgcli.training.reporter import Reporter

_STOPS = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]

PATIENCE_SECONDS = 2.0
"""Time for a rollout to end, before the call of an environment is abandoned."""

LIMIT_SECONDS = 4.5
"""Time for everything else, before the process ends."""

_POLL_SECONDS = 0.1


class Interrupted(PgcliError):  # noqa: N818 - a request, not an error
    """A run was stopped by a signal, with a result so far."""

    def __init__(
        self,
        code: ExitCode,
        result: dict[str, Any],
        help: str | None,
        outcome: str = "a checkpoint is committed",
    ) -> None:
        super().__init__(f"stopped by a signal; {outcome}", help=help)
        self.exit_code = code
        self.result = result


class EvaluationStopped(Abandoned):
    """An evaluation was ended by a signal and has no result."""


def _code(number: int) -> ExitCode:
    interrupted = number == signal.SIGINT
    return ExitCode.INTERRUPTED if interrupted else ExitCode.TERMINATED


def never(done: int = 0) -> bool:
    """False: no stop is requested."""
    return False


class StopFlag:
    """The exit code of the signal that requested a stop, or None.

    Attributes:
      code: the exit code.
      path: the run directory, if there is one already.
      follows: whether this process takes part in a run of another one, which saves it.
    """

    def __init__(self) -> None:
        self.code: ExitCode | None = None
        self.path: Path | None = None
        self.follows = False
        self._since = 0.0
        self._abandoned = False
        # the first signal that the watchdog has seen: (time, code)
        self._seen: tuple[float, ExitCode] | None = None
        # the watchdog must not send signals whose handlers have been removed
        self._lock = threading.Lock()
        self._over = threading.Event()

    @property
    def requested(self) -> ExitCode | None:
        """Exit code of a signal, also if the main thread has not handled it yet."""
        return self.code or (self._seen[1] if self._seen else None)

    def seconds(self) -> float:
        """Time since the request."""
        return time.monotonic() - self._since

    def interrupted(self, reason: str = "") -> Interrupted:
        """The error for a run that stopped without saving."""
        help, kept = None, "no run had begun"
        if self.path is not None:
            help = f"continue with: pgcli resume {self.path}"
        if self.path is not None or self.follows:
            kept = "its last checkpoint remains"
        code = self.requested or ExitCode.INTERRUPTED
        return Interrupted(code, {}, help, reason + kept)

    def end(self) -> None:
        """Ends the watchdog."""
        with self._lock:
            self._over.set()

    def _request(self, number: int, frame: FrameType | None) -> None:
        # a second INT interrupts at once
        if self.code is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.code is None:
            self._since = time.monotonic()
            self.code = _code(number)
        # only in a call of an environment, where nothing of ours is half done
        thread = threading.get_ident()
        if self._is_impatient() and thread in CALLS and not self._abandoned:
            self._abandoned = True
            raise Abandoned

    def _is_impatient(self) -> bool:
        begun = self.path is not None or self.follows
        return not begun or self.seconds() >= PATIENCE_SECONDS

    def _watch(self, thread: int, wakeup: int, reporter: Reporter) -> None:
        """Repeats a request that has not been obeyed; runs in a thread of its own.

        It reads signals from `wakeup`: their handler runs in the main thread only.
        """
        while not self._over.wait(_POLL_SECONDS):
            # bytes from the pipe are the numbers of signals
            if self._seen is None:
                with contextlib.suppress(BlockingIOError):
                    stops = [n for n in os.read(wakeup, 64) if n in _STOPS]
                    self._seen = (time.monotonic(), _code(stops[0])) if stops else None
                continue
            # no safe point was reached in time
            if time.monotonic() - self._seen[0] >= LIMIT_SECONDS:
                call = CALLS.get(thread)
                reason = "it was in the middle of a computation; "
                if call is not None:
                    reason = f"no answer from {call.whereabouts()}; "
                reporter.abandon(self.interrupted(reason))
                return
            # the handler runs again, and ends the call of an environment
            if self._is_impatient() and thread in CALLS:
                with self._lock:
                    if not self._over.is_set():
                        signal.pthread_kill(thread, signal.SIGTERM)


@contextmanager
def stop_on_signal(reporter: Reporter | None = None) -> Iterator[StopFlag]:
    """A flag set by INT, TERM and USR1 inside the block; a second INT interrupts.

    Outside the main thread, signals cannot be handled and the flag is never set. If the
    block does not end in time, `reporter` ends the process; if `Abandoned` leaves it,
    `Interrupted` is raised.
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    # handlers run in the main thread only; the watchdog reads the pipe
    before = {number: signal.signal(number, flag._request) for number in _STOPS}
    ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    wakeup = signal.set_wakeup_fd(ends[1], warn_on_full_buffer=False)
    arguments = threading.get_ident(), ends[0], reporter or Reporter()
    watchdog = threading.Thread(target=flag._watch, args=arguments, daemon=True)
    watchdog.start()
    try:
        yield flag
    except Abandoned:
        raise flag.interrupted() from None
    finally:
        # the watchdog ends before the handlers are removed
        flag.end()
        signal.set_wakeup_fd(wakeup)
        watchdog.join()
        for end in ends:
            os.close(end)
        for number, handler in before.items():
            signal.signal(number, handler)
