"""Calls of environments in progress: what a thread waits for.

A call that does not return can be noticed only from outside: by a thread that reads
`CALLS`, or by a signal handler, which may end it by `Abandoned`.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import NoReturn, Protocol


class Abandoned(BaseException):
    """A call of an environment was ended by a request to stop.

    Not an `Exception`, so that the environment's own code does not handle it.
    """


class Waited(Protocol):
    """A maker or owner of environments whose call may take long."""

    def whereabouts(self) -> str:
        """What is waited for, such as `step 14 of environment 3 (Ant-v5, seed 7)`."""

    def progress(self) -> object:
        """A value that changes whenever an environment has answered."""


CALLS: dict[int, Waited] = {}
"""Thread -> the call in progress."""


class Waits:
    """A context in which the thread waits for `waited`; calls do not nest."""

    def __init__(self, waited: Waited) -> None:
        self._waited = waited

    def __enter__(self) -> None:
        CALLS[get_ident()] = self._waited

    def __exit__(self, *_: object) -> None:
        CALLS.pop(get_ident(), None)


@contextmanager
def exits_refused() -> Iterator[None]:
    """Turns `os._exit` of an environment into `SystemExit`, inside the block.

    It would end pgcli without a message, and with exit code 0 if that is its argument.
    Calls from outside of environments and in forked processes exit as ever.
    """
    real, process = os._exit, os.getpid()

    def leave(status: int) -> NoReturn:
        if os.getpid() == process and get_ident() in CALLS:
            raise SystemExit(f"os._exit({status})")
        real(status)

    os._exit = leave
    try:
        yield
    finally:
        os._exit = real


SAY_SECONDS = 10.0
_POLL_SECONDS = 0.5


@contextmanager
def watching(
    late: Callable[[Waited, float], None], seconds: float = SAY_SECONDS
) -> Iterator[None]:
    """Watches the calls of this thread inside the block.

    `late` is called from another thread with a call that has not answered for some
    seconds, and the time; again when twice as long is exceeded, and so on.
    """
    over = threading.Event()
    arguments = (get_ident(), late, seconds, over)
    threading.Thread(target=_watch, args=arguments, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _watch(
    thread: int,
    late: Callable[[Waited, float], None],
    limit: float,
    over: threading.Event,
) -> None:
    last, since = None, 0.0
    while not over.wait(min(_POLL_SECONDS, limit / 4)):
        call = CALLS.get(thread)
        now = None if call is None else (id(call), call.progress())
        if call is None or now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since >= limit:
            late(call, limit)
            limit *= 2
