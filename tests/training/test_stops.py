"""Stops before the budget is used: patience, time, and the hook of the caller."""

from pathlib import Path
from typing import Any

import pytest
from support.checkpoints import digest
from support.small_runs import BATCH, resolved, rows
from support.steady_loop import Steady

import pgcli
from pgcli.cli import options
from pgcli.config.errors import ConfigError
from pgcli.config.load import Resolved
from pgcli.errors import UsageError
from pgcli.storage import checkpoint
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.run import Progress
from pgcli.training.timing import Clock

EVERY = f"eval.every={BATCH}"


@pytest.fixture
def _steady(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgcli.training.run.DeviceLoop", Steady)
    monkeypatch.setattr(Steady, "scores", (3.0, 1.0, 4.0, 4.0, 2.0, 0.0, 0.0, 9.0))


def given(*sets: str, iterations: int = 8) -> Resolved:
    return resolved("func:CartPole-v1", f"steps={iterations * BATCH}", *sets)


def iterations(result: dict[str, Any]) -> int:
    return int(result["steps"]["used"]) // BATCH


@pytest.mark.usefixtures("_steady")
@pytest.mark.parametrize(("patience", "last"), [(1, 2), (2, 5), (3, 6), (5, 8)])
def test_patience_ends_after_so_many_evaluations_without_a_new_best(
    tmp_path: Path, patience: int, last: int
) -> None:
    # the best scores are those of iterations 1, 3 and 8; an equal one is no new best
    result = pgcli.train(given(EVERY, f"patience={patience}"), runs_dir=tmp_path)
    assert iterations(result) == last
    assert result["stopped"] == ("patience" if last < 8 else "budget")


@pytest.mark.usefixtures("_steady")
def test_patience_is_counted_across_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = given(EVERY, "patience=3", f"checkpoint.every={BATCH}")

    def killed(progress: Progress) -> None:
        if progress.iteration == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pgcli.train(config, runs_dir=tmp_path, name="x", on_iteration=killed)
    assert iterations(pgcli.resume("x", runs_dir=tmp_path)) == 6


@pytest.mark.usefixtures("_steady")
def test_patience_that_ended_a_run_can_be_raised(tmp_path: Path) -> None:
    def resume(**more: Any) -> tuple[str, int]:
        result = pgcli.resume("x", runs_dir=tmp_path, **more)
        return result["stopped"], iterations(result)

    pgcli.train(given(EVERY, "patience=2"), runs_dir=tmp_path, name="x")
    assert resume() == ("patience", 5)  # finished
    assert resume(patience=3) == ("patience", 6)
    (tmp_path / "x" / "result.json").unlink()
    assert resume() == ("patience", 6)  # only the result was missing
    # more steps: two further evaluations, of which the second is a new best
    assert resume(steps=20 * BATCH) == ("patience", 11)


@pytest.mark.usefixtures("_steady")
def test_max_seconds_counts_the_time_of_the_run_not_of_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [0.0]
    monkeypatch.setattr(Clock, "total", property(lambda clock: seconds[0]))

    def minute(progress: Progress) -> None:
        seconds[0] += 60.0

    def call(function: Any, what: Any, **more: Any) -> tuple[str, int]:
        seconds[0] = 0.0
        given = {"runs_dir": tmp_path, "on_iteration": minute}
        result = function(what, **given, **more)
        assert result["ok"]
        return result["stopped"], iterations(result)

    # the clock is read after the evaluation of each iteration: 0, 60, 120 s
    config = given(EVERY, "max_seconds=120")
    assert call(pgcli.train, config, name="x") == ("max_seconds", 3)
    assert call(pgcli.resume, "x") == ("max_seconds", 3)  # finished
    assert call(pgcli.resume, "x", steps=9 * BATCH) == ("max_seconds", 3)
    assert call(pgcli.train, config, name="x", resume="auto") == ("max_seconds", 3)
    # the last row of the timing is from 120 s on; 120, 180, 240
    assert call(pgcli.resume, "x", max_seconds=240) == ("max_seconds", 6)
    logged = [row["run_seconds"] for row in rows(tmp_path / "x" / "timing.jsonl")]
    assert logged == [0, 60, 120, 120, 180, 240]
    last = checkpoint.committed(RunDirectory(tmp_path / "x").checkpoints)[-1]
    assert last.name == "000000006"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, None), ("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400)],
)
def test_duration_has_units(text: str | None, seconds: float | None) -> None:
    assert options.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "0", "-5m", "inf", "nan", "1d", "1h30m"])
def test_duration_of_another_form_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="expected a number above 0"):
        options.duration(text)


def test_patience_without_evaluations_is_refused() -> None:
    with pytest.raises(ConfigError, match="`patience` counts evaluations"):
        given("patience=1", "eval.every=0")


@pytest.mark.parametrize("answer", [None, True, 1])
@pytest.mark.usefixtures("_steady")
def test_on_iteration_sees_every_iteration(tmp_path: Path, answer: Any) -> None:
    seen: list[Progress] = []

    def watch(progress: Progress) -> Any:
        seen.append(progress)
        return answer

    config = given(f"eval.every={2 * BATCH}")
    result = pgcli.train(config, runs_dir=tmp_path, on_iteration=watch)
    assert [progress.iteration for progress in seen] == [*range(1, 9)]
    assert [progress.steps for progress in seen] == [BATCH * i for i in range(1, 9)]
    logged = rows(Path(result["path"]) / "metrics.jsonl")
    assert [dict(progress.metrics) for progress in seen] == logged
    scores = [p.evaluation and p.evaluation["return_mean"] for p in seen]
    assert scores == [None, 1.0, 1.0, 4.0, 4.0, 0.0, 0.0, 9.0]
    assert {str(p.path) for p in seen} == {result["path"]}
    with pytest.raises(TypeError):
        seen[0].metrics["kl"] = 1.0  # type: ignore[index]


@pytest.mark.usefixtures("_steady")
def test_on_iteration_false_ends_training_with_a_result(tmp_path: Path) -> None:
    def third(progress: Progress) -> bool:
        return progress.iteration < 3

    result = pgcli.train(given(), runs_dir=tmp_path, name="x", on_iteration=third)
    assert (result["ok"], result["stopped"]) == (True, "on_iteration")
    assert iterations(result) == 3
    assert result["eval"]["iteration"] == 3
    # without the hook, the rest of the budget
    assert iterations(pgcli.resume("x", runs_dir=tmp_path)) == 8


@pytest.mark.usefixtures("_steady")
def test_on_iteration_exception_ends_the_run_after_a_checkpoint(
    tmp_path: Path,
) -> None:
    def failing(progress: Progress) -> None:
        if progress.iteration == 3:
            raise ZeroDivisionError

    whole = pgcli.train(given(EVERY), runs_dir=tmp_path, name="whole")
    config = given(EVERY)
    with pytest.raises(ZeroDivisionError):
        pgcli.train(config, runs_dir=tmp_path, name="x", on_iteration=failing)
    run = RunDirectory(tmp_path / "x")
    assert checkpoint.committed(run.checkpoints)[-1].name == "000000003"
    assert run.read_result() is None
    result = pgcli.resume("x", runs_dir=tmp_path)
    assert digest(Path(result["checkpoint"])) == digest(Path(whole["checkpoint"]))
    logs = [(tmp_path / name / "eval.jsonl").read_bytes() for name in ("x", "whole")]
    assert logs[0] == logs[1]


@pytest.mark.parametrize(
    ("env_id", "seeds"),
    [
        pytest.param("func:CartPole-v1", 2, marks=pytest.mark.slow),
        ("CartPole-v1", 1),
        pytest.param("func:CartPole-v1", 1, marks=pytest.mark.slow),
        pytest.param("CartPole-v1", 2, marks=pytest.mark.slow),
    ],
)
def test_on_iteration_of_every_loop_and_member(
    tmp_path: Path, env_id: str, seeds: int
) -> None:
    seen: list[tuple[int, Any]] = []

    def watch(progress: Progress) -> bool:
        seen.append((progress.iteration, progress.metrics.get("seed")))
        return progress.iteration < 2

    config = resolved(env_id, f"seeds={seeds}", f"steps={2000 * BATCH}")
    result = pgcli.train(config, runs_dir=tmp_path, on_iteration=watch)
    assert result["stopped"] == "on_iteration"
    assert result["steps"]["used"] < 2000 * BATCH
    assert seen[0][0] == 1
    assert seen[-1][0] == 2
    assert {seed for _, seed in seen} <= ({None} if seeds == 1 else {0, 1})
