"""A time limit for environments that hang while they are checked."""

import functools
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pgcli.envs.waiting import Abandoned, Waited, Waits, watching
from pgcli.errors import EnvironmentFailed, PgcliError


class _Calls:
    """The calls of one environment; see `Waited`."""

    def __init__(self, env_id: str) -> None:
        self._env_id = env_id
        self._count = 0

    def whereabouts(self) -> str:
        return f"call {self._count} of {self._env_id}"

    def progress(self) -> object:
        return self._count

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose calls are counted and can be watched."""

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            self._count += 1
            with Waits(self):
                return function(*args, **kwargs)

        return called


def watched(env: Any, env_id: str) -> Any:
    """A Gymnasium environment whose resets and steps can be watched from now on."""
    calls = _Calls(env_id)
    env.reset, env.step = calls.of(env.reset), calls.of(env.step)
    return env


@contextmanager
def time_limit(
    seconds: float, env_id: str, abandon: Callable[[PgcliError], None]
) -> Iterator[None]:
    """Limits the time of every call of an environment inside the block.

    Only the main thread can be interrupted; in others there is no limit. Raises an
    EnvironmentFailed; if the call continues, `abandon` is called with it from another
    thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    thread = threading.get_ident()
    errors: list[EnvironmentFailed] = []

    def late(call: Waited, limit: float) -> None:
        if errors:
            abandon(errors[0])
            return
        where, help = (
            f"environment {env_id}",
            "raise host.timeout if it may take so long",
        )
        what = f"{call.whereabouts()} has not answered in {limit:g} s"
        errors.append(EnvironmentFailed(what, where=where, help=help))
        signal.pthread_kill(thread, signal.SIGUSR2)

    def interrupt(number: int, frame: Any) -> None:
        raise Abandoned

    before = signal.signal(signal.SIGUSR2, interrupt)
    try:
        with watching(late, seconds):
            yield
    except Abandoned:
        raise errors[0] from None
    finally:
        signal.signal(signal.SIGUSR2, before)
