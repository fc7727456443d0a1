"""The size of calls limits the time that a signal waits."""

import pytest

from pgcli.training.loops.chunk_size import Pace


class Ticking:
    """A clock set by the test, for time and for compilation."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.compiled = 0.0
        monkeypatch.setattr(
            "pgcli.training.loops.chunk_size.time.perf_counter", lambda: self.now
        )
        monkeypatch.setattr(
            "pgcli.training.loops.chunk_size.timing.compiled", lambda: self.compiled
        )


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Ticking:
    return Ticking(monkeypatch)


def call(pace: Pace, ticking: Ticking, cost: float, compiling: float = 0.0) -> int:
    """Number of iterations of a call, if each takes `cost` seconds."""
    iterations = pace.begin(0.5)
    ticking.now += iterations * cost + compiling
    ticking.compiled += compiling
    pace.end(iterations)
    return iterations


def test_pace_takes_one_iteration_until_one_is_measured(ticking: Ticking) -> None:
    pace = Pace()
    assert call(pace, ticking, 0.01, compiling=9.0) == 1
    assert call(pace, ticking, 0.01) == 1
    assert call(pace, ticking, 0.01) == 50  # 0.5 s of 0.01 s
    assert call(pace, ticking, 0.1) == 50
    assert call(pace, ticking, 0.1) == 5


def test_pace_learns_nothing_of_a_call_that_compiles(ticking: Ticking) -> None:
    pace = Pace()
    call(pace, ticking, 0.01)
    assert call(pace, ticking, 0.01, compiling=9.0) == 50
    assert call(pace, ticking, 0.01) == 50
