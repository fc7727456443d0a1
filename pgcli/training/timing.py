"""Measurement of a run's time: total, training and compilation."""

import contextlib
import threading
import time
from collections.abc import Iterator

import jax

_COMPILE_EVENTS = (
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)
_compiled = 0.0
_thread = threading.local()


def _listen(event: str, duration_secs: float, **_: str | int) -> None:
    global _compiled
    if not hasattr(_thread, "is_ignored") and event in _COMPILE_EVENTS:
        _compiled += duration_secs


jax.monitoring.register_event_duration_secs_listener(_listen)


def compiled() -> float:
    """Seconds that this process has spent lowering and compiling since its start."""
    return _compiled


def ignore_this_thread() -> None:
    """Leaves out what this thread compiles: others work meanwhile."""
    _thread.is_ignored = True


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """A block that waits for a compiled program, which counts as compilation."""
    global _compiled
    start = time.perf_counter()
    try:
        yield
    finally:
        _compiled += time.perf_counter() - start


class Clock:
    """Seconds of this process in a run: total, training and compilation.

    `compile` covers lowering and XLA for all programs. `train` covers collection,
    updates and logging without the compilation in them.
    """

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._compiled_before = _compiled
        self.train = 0.0

    @property
    def total(self) -> float:
        """Seconds since the start of the run."""
        return time.perf_counter() - self._start

    @property
    def compile(self) -> float:
        """Seconds of compilation since the start of the run."""
        return _compiled - self._compiled_before

    def lap(self, since: float, compiled_before: float) -> float:
        """Adds an interval of training that began at `since`; returns its seconds."""
        seconds = time.perf_counter() - since - (self.compile - compiled_before)
        seconds = max(seconds, 0.0)
        self.train += seconds
        return seconds
