"""The time left of a run contains its evaluations."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from support.small_runs import config, resolved
from support.steady_loop import Steady

from pgcli.training import forecast
from pgcli.training.forecast import Forecast
from pgcli.training.reporter import Reporter, Status
from pgcli.training.run import train

SETS = ("steps=1000", "eval.every=400", "eval.episodes=10", "eval.final_episodes=30")


def make(monkeypatch: pytest.MonkeyPatch, *sets: str) -> tuple[Forecast, list[float]]:
    """A forecast, and the clock that it reads."""
    now = [0.0]
    monkeypatch.setattr(forecast.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(forecast.timing, "compiled", lambda: 0.0)
    return Forecast(config("func:CartPole-v1", *SETS, *sets)), now


def test_time_left_before_the_first_evaluation_takes_the_length_of_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    view, _ = make(monkeypatch)
    assert view.left() is None  # no pace is known
    # 900 steps, and 10 + 10 + 30 episodes of 20 steps: 1,900 steps at 100 per second
    assert view.update(100, 100.0, 20.0) == pytest.approx(19.0)
    assert view.update(100, 100.0, None) == pytest.approx(9.0)


def test_time_left_contains_the_measured_cost_of_evaluations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    view, now = make(monkeypatch)
    view.update(400, 100.0, 20.0)
    with view.evaluation(10, False):
        now[0] = 2.0
        # 5 of 10 took 2 s: 0.4 s each for 5 + 10 + 30 more, and 600 steps
        assert view.left(5) == pytest.approx(6 + 45 * 0.4)
        now[0] = 5.0
    # 0.5 s each for 10 + 30 episodes
    assert view.left() == pytest.approx(6 + 20)
    view.update(1000, 100.0, 20.0)
    with view.evaluation(30, True):
        assert view.left() == pytest.approx(15)
        now[0] = 6.0
        assert view.left(10) == pytest.approx(20 * 0.1)


def test_time_left_of_members_is_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    view, _ = make(monkeypatch, "seeds=4", "eval.every=0")
    # 4 · 900 steps and 4 · 30 episodes of 20, at 400 steps per second together
    assert view.update(100, 400.0, 20.0) == pytest.approx(9 + 6)


def test_every_evaluation_reports_its_episodes_and_the_time_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgcli.training.run.DeviceLoop", Steady)
    seen: list[Any] = []

    class Watching(Reporter):
        def progress(self, status: Status) -> None:
            seen.append(("training", status.left is not None))

        def evaluating(self, done: int, episodes: int, left: float | None) -> None:
            seen.append((done, episodes, left is not None))

    given = resolved("func:CartPole-v1", "steps=64", "eval.every=32")
    train(given, runs_dir=tmp_path, reporter=Watching())
    # two chunks with an evaluation of 4 episodes each, then the last of 8
    assert [key for key, _ in itertools.groupby(seen)] == [
        ("training", True),
        (0, 4, True),
        ("training", True),
        (0, 4, True),
        (0, 8, True),
    ]
