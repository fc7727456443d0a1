"""Number of iterations per call; signals and the live view wait for a call to end."""

import time

from pgcli.training import timing


class Pace:
    """A measurement of the time per iteration, without compilation."""

    def __init__(self) -> None:
        """A measurement without data: the first call without compilation is used."""
        self._seconds: float | None = None
        self._start = 0.0
        self._compiled_before = 0.0

    def begin(self, seconds: float) -> int:
        """Number of iterations that take about `seconds`; starts the measurement.

        The number is 1 until an iteration has been measured, so that the first calls
        are short whatever an iteration costs.
        """
        self._start = time.perf_counter()
        self._compiled_before = timing.compiled()
        return 1 if self._seconds is None else max(1, int(seconds / self._seconds))

    def end(self, iterations: int) -> None:
        """Records a call. Calls that compiled are not used for timing."""
        if timing.compiled() > self._compiled_before:
            return
        elapsed = time.perf_counter() - self._start
        self._seconds = max(elapsed, 1e-9) / max(1, iterations)
