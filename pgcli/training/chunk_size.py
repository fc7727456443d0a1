"""How many iterations one call may run: a signal and the live view wait for it."""

import time

from pgcli.training import timing


class Pace:
    """Follows how long iterations take, the compilation of their program apart."""

    def __init__(self) -> None:
        """Nothing is known before a call in which nothing was compiled."""
        self._seconds: float | None = None
        self._start = 0.0
        self._compiled_before = 0.0

    def begin(self, seconds: float) -> int:
        """How many iterations a call that begins now runs in about `seconds`.

        It is one until one has been measured: whatever an iteration costs, the first
        calls wait for no more than that.
        """
        self._start = time.perf_counter()
        self._compiled_before = timing.compiled()
        return 1 if self._seconds is None else max(1, int(seconds / self._seconds))

    def end(self, iterations: int) -> None:
        """The call has run so many. One that compiled says nothing of the pace."""
        if timing.compiled() > self._compiled_before:
            return
        elapsed = time.perf_counter() - self._start
        self._seconds = max(elapsed, 1e-9) / max(1, iterations)
