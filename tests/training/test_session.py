"""Sessions: logs, evaluations, checkpoints, and kills at every file operation."""

import contextlib
import dataclasses
import errno
import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints import digest
from support.disk_faults import (
    Failing,
    FullFrom,
    Killed,
    Killing,
    Recording,
    count,
    intercept,
)
from support.small_runs import BATCH, resolved, rows
from support.steady_loop import Steady

from pgcli.config.load import Resolved
from pgcli.config.source import yaml_file
from pgcli.errors import (
    CheckpointError,
    EnvironmentFailed,
    ExitCode,
    LockedError,
    NotSavedError,
    UsageError,
)
from pgcli.storage import checkpoint
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.backend.accelerator import Accelerator
from pgcli.training.reporter import Reporter
from pgcli.training.resume_notes import raised_schedules
from pgcli.training.run import Interrupted, resume, train

SLOW = pytest.mark.slow
ITERATIONS = 4
SCORES = (1.0, 4.0, 2.0, 9.0)


class Listening(Reporter):
    """A reporter that records warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture(autouse=True)
def _steady(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgcli.training.run.DeviceLoop", Steady)
    monkeypatch.setattr(Steady, "scores", SCORES)
    monkeypatch.setattr("pgcli.training.session.RETRY_SECONDS", 0.0)
    monkeypatch.setattr(os, "fsync", os.fstat)  # without waiting for the disk


def settings(*sets: str) -> Resolved:
    """An evaluation after every iteration, a checkpoint after every second."""
    return resolved(
        "func:CartPole-v1",
        f"steps={ITERATIONS * BATCH - 5}",
        f"eval.every={BATCH}",
        f"checkpoint.every={2 * BATCH}",
        *sets,
    )


Outcome = dict[str, Any]


def outcome(run: RunDirectory, result: dict[str, Any]) -> Outcome:
    """Files and results that must not depend on how often the run was stopped."""
    last = checkpoint.committed(run.checkpoints)[-1]
    for path in checkpoint.committed(run.checkpoints):
        checkpoint.load(path)
    wall_clock = ("seconds", "steps_per_second", "path", "resume_level")
    entries = {k: v for k, v in result.items() if k not in wall_clock}
    return {
        "metrics": run.metrics_jsonl.read_bytes(),
        "eval": run.eval_jsonl.read_bytes(),
        "last": (last.name, digest(last)),
        "best": run.best(),
        "best digest": digest(run.checkpoints / run.best()[0]),
        "result": {
            k: Path(v).name if k == "checkpoint" else v for k, v in entries.items()
        }
        | {"best": entries["best"]["return_mean"]},
    }


def start(runs_dir: Path, given: Resolved, reporter: Reporter | None = None) -> Any:
    return train(given, runs_dir=runs_dir, name="x", resume="auto", reporter=reporter)


@pytest.mark.parametrize(
    ("sets", "torn"),
    [
        ((), True),
        pytest.param((), False, marks=SLOW),
        pytest.param(("until_return=9",), True, marks=SLOW),
        pytest.param(("checkpoint.keep=3",), False, marks=SLOW),
    ],
)
def test_kill_at_any_file_operation_is_made_good_by_resume_auto(
    tmp_path: Path, sets: Sequence[str], torn: bool
) -> None:
    given = settings(*sets)
    whole = tmp_path / "whole"
    expected = outcome(RunDirectory(whole / "x"), start(whole, given))
    total = count(lambda: start(tmp_path / "count", given))
    assert total > 100
    for n in range(total):
        runs_dir = tmp_path / "killed"
        with intercept(Killing(n, torn)), pytest.raises(Killed):
            start(runs_dir, given)
        result = start(runs_dir, given)
        assert outcome(RunDirectory(runs_dir / "x"), result) == expected, n
        assert start(runs_dir, given) == result  # finished: the stored result
        shutil.rmtree(runs_dir)


@pytest.mark.slow
@pytest.mark.parametrize("lasting", [False, True])
def test_disk_that_fails_stops_no_training_that_has_begun(
    tmp_path: Path, lasting: bool
) -> None:
    given = settings()
    recording = Recording()
    with intercept(recording):
        start(tmp_path / "whole", given)
    refused = 0
    for n, operation in enumerate(recording.operations):
        runs_dir, reporter = tmp_path / "failing", Listening()
        result: dict[str, Any] | None = None
        with (
            contextlib.suppress(UsageError),  # before training: nothing is lost
            intercept(Failing(n, errno.ENOSPC, lasting)),
        ):
            try:
                result = start(runs_dir, given, reporter)
            except NotSavedError as error:
                result = error.result
        if result is None:
            refused = n
        else:
            assert result["steps"]["used"] == ITERATIONS * BATCH
            # the owner in the lock file is used for error messages only
            assert reporter.warnings or operation.path.name == "lock", n
            run = RunDirectory(runs_dir / "x")
            for path in checkpoint.committed(run.checkpoints):
                checkpoint.load(path)
            best = run.best()
            if best is not None:
                checkpoint.load(run.checkpoints / best[0])
        shutil.rmtree(runs_dir, ignore_errors=True)
    # the last operation whose failure ends the run commits the first checkpoint
    assert "checkpoints" in recording.operations[refused].path.parts
    assert refused < len(recording.operations) / 2


def test_last_state_that_could_not_be_saved_is_an_error_with_the_figures(
    tmp_path: Path,
) -> None:
    reporter = Listening()
    given = settings(f"steps={20 * BATCH}")
    begun = count(lambda: start(tmp_path / "short", settings("steps=32")))
    with (
        intercept(FullFrom(begun)),
        pytest.raises(NotSavedError, match="last state could not") as caught,
    ):
        start(tmp_path, given, reporter)
    assert caught.value.exit_code == ExitCode.CHECKPOINT
    assert "pgcli resume" in str(caught.value.help)
    result = caught.value.result
    assert (result["ok"], result["steps"]["used"]) == (False, 20 * BATCH)
    # the evaluation is that of a state without a checkpoint
    assert result["eval"]["iteration"] == 20
    assert result["eval"]["checkpoint"] is None
    run = RunDirectory(tmp_path / "x")
    assert run.read_result() is None
    last = checkpoint.committed(run.checkpoints)[-1]
    assert result["checkpoint"] == str(last) != checkpoint.name_of(20)
    # one warning for the first failure, and one with their number
    said = [text for text in reporter.warnings if "checkpoint could not" in text]
    assert len(said) == 2
    assert re.search(r"saved: \d+ times", said[1])
    # with space again, the run is completed
    again = resume("x", runs_dir=tmp_path)
    assert again["ok"]
    assert again["eval"]["checkpoint"] == checkpoint.name_of(20)


def test_last_state_is_saved_once_the_disk_has_space_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgcli.training.session.RETRY_SECONDS", 5.0)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    total = count(lambda: start(tmp_path / "whole", settings()))
    for kept in (60, 20, 6):
        runs_dir = tmp_path / str(kept)
        with intercept(FullFrom(total - kept, total - kept + 40)):
            result = start(runs_dir, settings())
        assert result["eval"]["checkpoint"] == Path(result["checkpoint"]).name
        assert RunDirectory(runs_dir / "x").read_result() == result


def test_failure_on_the_device_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state of the loop contains an iteration that it has not counted."""
    advance = Steady.advance

    def failing(self: Steady, until: int, seconds: float, stop: Any) -> Any:
        rows = advance(self, until, seconds)
        if self.iteration < 4:
            return rows
        raise EnvironmentFailed("the reward is not finite")

    monkeypatch.setattr(Steady, "advance", failing)
    with pytest.raises(EnvironmentFailed):
        start(tmp_path, settings())
    newest = checkpoint.committed(tmp_path / "x" / "checkpoints")[-1]
    assert newest.name == checkpoint.name_of(2)


def displace(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[], object], method: str
) -> None:
    """Calls `change` once, in the third call of a method of the loop."""
    calls, before = [0], getattr(Steady, method)

    def changed(self: Steady, *args: Any) -> Any:
        calls[0] += 1
        if calls[0] == 3:
            change()
        return before(self, *args)

    monkeypatch.setattr(Steady, method, changed)


@pytest.mark.parametrize("method", ["advance", "evaluate"])
@pytest.mark.parametrize("sinks", ["[]", "[csv,tensorboard]"])
@pytest.mark.parametrize("moved", [True, False])
def test_run_directory_that_is_moved_or_deleted_is_not_made_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    sinks: str,
    moved: bool,
) -> None:
    given = settings(f"log.sinks={sinks}")
    expected = outcome(RunDirectory(tmp_path / "x"), start(tmp_path, given))
    runs_dir, there = tmp_path / "runs", tmp_path / "there"

    def change() -> None:
        if moved:
            (runs_dir / "x").rename(there)
        else:
            shutil.rmtree(runs_dir / "x")

    with monkeypatch.context() as patch:
        displace(patch, change, method)
        with pytest.raises(CheckpointError, match="moved or deleted") as caught:
            start(runs_dir, given)
    assert caught.value.help is not None
    assert list(runs_dir.iterdir()) == []
    if moved:
        assert outcome(RunDirectory(there), resume(there)) == expected | {
            "result": expected["result"] | {"run": "there"}
        }


def test_run_directory_of_another_run_at_the_same_place_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    start(other, settings("optimizer.lr=0.5"))
    before = {p: p.read_bytes() for p in other.rglob("*") if p.is_file()}

    def change() -> None:
        (tmp_path / "runs" / "x").rename(tmp_path / "there")
        (other / "x").rename(tmp_path / "runs" / "x")

    displace(monkeypatch, change, "advance")
    with pytest.raises(CheckpointError, match="moved or deleted"):
        start(tmp_path / "runs", settings())
    (tmp_path / "runs" / "x").rename(other / "x")
    assert {p: p.read_bytes() for p in other.rglob("*") if p.is_file()} == before


def test_run_spends_its_budget_and_says_both_numbers(tmp_path: Path) -> None:
    result = start(tmp_path, settings())
    # budget 123; 4 iterations of 32 make 128, the first count above it
    assert result["steps"] == {"asked": 123, "used": 128}
    assert result["stopped"] == "budget"
    run = RunDirectory(tmp_path / "x")
    assert [row["steps"] for row in rows(run.metrics_jsonl)] == [
        32 * i for i in range(1, 5)
    ]
    assert [row["return_mean"] for row in rows(run.eval_jsonl)] == list(SCORES)


def test_until_return_stops_at_the_first_evaluation_that_reaches_it(
    tmp_path: Path,
) -> None:
    result = start(tmp_path, settings("until_return=3.5"))
    assert result["stopped"] == "until_return"
    assert result["steps"]["used"] == 2 * BATCH  # scores 1, 4


def test_until_return_is_remembered_when_only_the_result_is_missing(
    tmp_path: Path,
) -> None:
    result = start(tmp_path, settings("until_return=3.5"))
    (tmp_path / "x" / "result.json").unlink()
    again = resume("x", runs_dir=tmp_path)
    assert again["stopped"] == "until_return"
    assert again["steps"] == result["steps"]


def test_best_checkpoint_stays_beyond_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Steady, "scores", (1.0, 7.0, 2.0))
    result = start(tmp_path, settings(f"steps={20 * BATCH}"))
    run = RunDirectory(tmp_path / "x")
    kept = [int(path.name) for path in checkpoint.committed(run.checkpoints)]
    assert kept == [2, 18, 20]
    assert run.best() == ("000000002", 7.0)
    assert result["best"]["return_mean"] == 7.0
    assert Path(result["best"]["checkpoint"]).name == "000000002"
    assert Path(result["checkpoint"]).name == "000000020"


def stop_after(
    runs_dir: Path, given: Resolved, monkeypatch: pytest.MonkeyPatch, iterations: int
) -> RunDirectory:
    """A run that was killed in the middle of the next iteration."""
    advance = Steady.advance

    def killed(self: Steady, until: int, seconds: float, stop: Any) -> Any:
        if self.iteration == iterations:
            raise Killed
        return advance(self, until, seconds, stop)

    with monkeypatch.context() as patch:
        patch.setattr(Steady, "advance", killed)
        with pytest.raises(Killed):
            start(runs_dir, given)
    return RunDirectory(runs_dir / "x")


def lose_best(run: RunDirectory) -> None:
    run.best_json.unlink()


def damage_best(run: RunDirectory) -> None:
    run.best_json.write_text('{"checkpoint": "000000002", "sco')


def lose_timing(run: RunDirectory) -> None:
    run.timing_jsonl.unlink()


def leave_rows(run: RunDirectory) -> None:
    for path in (run.metrics_jsonl, run.eval_jsonl):
        with path.open("a") as log:
            log.write('{"iteration": 77, "steps": 1}\n{"iterat')


def damage_newest(run: RunDirectory) -> None:
    newest = checkpoint.committed(run.checkpoints)[-1]
    (newest / "run.safetensors").write_bytes(b"")


@pytest.mark.parametrize(
    "mishap",
    [lose_best, damage_best, lose_timing, leave_rows, damage_newest],
    ids=lambda f: f.__name__,
)
def test_resume_makes_good(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mishap: Callable[[RunDirectory], None],
) -> None:
    expected = outcome(
        RunDirectory(tmp_path / "a/x"), start(tmp_path / "a", settings())
    )
    run = stop_after(tmp_path / "b", settings(), monkeypatch, 3)
    mishap(run)
    reporter = Listening()
    result = resume("x", runs_dir=tmp_path / "b", reporter=reporter)
    assert result["resume_level"] == "exact"
    assert outcome(run, result) == expected
    if mishap is damage_newest:
        assert any("damaged" in warning for warning in reporter.warnings)


@pytest.mark.parametrize("damaged", [True, False])
def test_best_of_an_older_checkpoint_outlives_a_newer_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    """6 is the new best; 4 is kept and refers to 2 as the best, so 2 is kept too."""
    monkeypatch.setattr(Steady, "scores", (1.0, 9.0, 3.0, 3.0, 3.0, 10.0))
    given = settings(f"steps={8 * BATCH}")
    expected = outcome(RunDirectory(tmp_path / "a/x"), start(tmp_path / "a", given))
    run = stop_after(tmp_path / "b", given, monkeypatch, 6)
    assert run.best() == ("000000006", 10.0)
    if damaged:
        damage_newest(run)
    result = resume("x", runs_dir=tmp_path / "b")
    assert outcome(run, result) == expected


def test_best_that_is_lost_is_forgotten_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Steady, "scores", (9.0, 3.0))
    run = stop_after(tmp_path, settings(f"steps={6 * BATCH}"), monkeypatch, 4)
    assert run.best() == ("000000001", 9.0)
    shutil.rmtree(run.checkpoints / "000000001")
    reporter = Listening()
    result = resume("x", runs_dir=tmp_path, reporter=reporter)
    assert any("000000001 with 9, is lost" in text for text in reporter.warnings)
    assert run.best() == ("000000005", 3.0)
    checkpoint.load(Path(result["best"]["checkpoint"]))


class Forgetful(Steady):
    """A loop that cannot restore its environments."""

    def restore(self, groups: Any, where: str) -> str:
        super().restore(groups, where)
        return "learner-exact"

    def news(self) -> list[str]:
        return ["the wheel came off"]


def test_refused_resume_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stop_after(tmp_path, settings(), monkeypatch, 3)
    with run.metrics_jsonl.open("a") as log:
        log.write('{"iteration": 77, "steps": 1}\n')
    monkeypatch.setattr("pgcli.training.run.DeviceLoop", Forgetful)

    def content() -> dict[Path, bytes]:
        files = [path for path in run.path.rglob("*") if path.is_file()]
        return {path: path.read_bytes() for path in files if path.name != "lock"}

    before = content()
    with pytest.raises(UsageError, match="only learner-exact is possible") as caught:
        resume("x", runs_dir=tmp_path, steps=8 * BATCH, require_exact=True)
    assert caught.value.help == "the wheel came off"
    assert content() == before


def test_exact_resume_that_is_refused_names_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(tmp_path, settings(), monkeypatch, 3)
    fingerprint = Accelerator.fingerprint

    def changed(self: Accelerator) -> dict[str, Any]:
        return fingerprint(self) | {"cpu_threads": 9}

    monkeypatch.setattr(Accelerator, "fingerprint", changed)
    with pytest.raises(UsageError, match="only state-exact is possible") as caught:
        resume("x", runs_dir=tmp_path, require_exact=True)
    help = str(caught.value.help)
    assert re.fullmatch(
        r"the run was computed with cpu_threads \d+; here it is 9", help
    )


def test_news_of_the_loop_reach_the_user_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(tmp_path, settings(), monkeypatch, 3)
    messages = iter([["new episodes"], ["and another"]])
    monkeypatch.setattr(Steady, "news", lambda self: next(messages, []))
    reporter = Listening()
    resume("x", runs_dir=tmp_path, reporter=reporter)
    assert reporter.warnings == ["new episodes", "and another"]


def test_resume_says_where_it_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(tmp_path, settings(), monkeypatch, 3)
    infos = []

    class Watching(Reporter):
        def started(self, info: Any) -> None:
            infos.append((info.first_step, info.resume_level))

    resume("x", runs_dir=tmp_path, reporter=Watching())
    assert infos == [(2 * BATCH, "exact")]  # iteration 2: its score 4 was the best


def test_resume_with_more_steps_continues_past_the_old_budget(tmp_path: Path) -> None:
    start(tmp_path, settings())
    result = resume("x", runs_dir=tmp_path, steps=8 * BATCH)
    assert result["steps"] == {"asked": 8 * BATCH, "used": 8 * BATCH}
    logged = rows(tmp_path / "x" / "metrics.jsonl")
    assert [row["iteration"] for row in logged] == list(range(1, 9))


def test_resume_says_that_an_annealed_learning_rate_jumps(tmp_path: Path) -> None:
    start(tmp_path, settings("optimizer.schedule=linear"))
    seen = Listening()
    resume("x", runs_dir=tmp_path, steps=8 * BATCH, reporter=seen)
    assert "raises the values of optimizer.schedule" in seen.warnings[0]
    assert "with optimizer.schedule=constant" in seen.warnings[0]


@pytest.mark.parametrize(
    ("sets", "last", "expected"),
    [
        # 1e-3 · (1 − 100/400) = 7.5e-4, after a last step of 1e-3 · (1 − 90/100) = 1e-4
        (("optimizer.schedule=linear",), 1e-4, "from 0.0001 to 0.00075 (×7.5)"),
        (("algo.clip_schedule=linear",), 1e-3, "raises the values of algo.clip_sch"),
        (("optimizer.schedule=constant",), 1e-3, None),
    ],
)
def test_schedules_that_a_larger_budget_raises(
    sets: tuple[str, ...], last: float, expected: str | None
) -> None:
    before = resolved("CartPole-v1", "optimizer.lr=1e-3", "steps=100", *sets).config
    after = dataclasses.replace(before, steps=400)
    text = raised_schedules(before, after, 100, {"lr": last})
    assert (expected in text) if expected and text else text is expected
    assert raised_schedules(after, before, 100, {"lr": last}) is None


def test_resume_of_a_finished_run_is_its_result(tmp_path: Path) -> None:
    result = start(tmp_path, settings())
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "x").rglob("*")}
    seen = Listening()
    assert start(tmp_path, settings(), seen) == result
    assert resume("x", runs_dir=tmp_path, reporter=seen) == result
    assert len(seen.notes) == 2
    assert "x is finished: 128 of 123 steps are used" in seen.notes[1]
    assert "`pgcli resume x --steps M`" in seen.notes[1]
    changed = {p.name for p, at in before.items() if p.stat().st_mtime_ns != at}
    assert changed <= {"lock"}


@pytest.mark.parametrize("finished", [True, False])
def test_resume_auto_that_loses_a_race_for_the_name_says_that_it_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: bool
) -> None:
    """Another process starts the run after this one has found none."""
    given, run = settings(), RunDirectory(tmp_path / "x")
    with contextlib.ExitStack() as other:

        class Late(Steady):
            def __init__(self, *args: Any, **named: Any) -> None:
                super().__init__(*args, **named)
                monkeypatch.setattr("pgcli.training.run.DeviceLoop", Steady)
                if finished:
                    start(tmp_path, given)
                else:
                    RunDirectory.create(tmp_path, "x", "ppo2", "CartPole-v1")
                    other.enter_context(run.lock())

        monkeypatch.setattr("pgcli.training.run.DeviceLoop", Late)
        with pytest.raises(LockedError) as caught:
            start(tmp_path, given)
    assert caught.value.exit_code == 7
    assert (run.read_result() is not None) == finished


def test_resume_auto_refuses_another_configuration(tmp_path: Path) -> None:
    start(tmp_path, settings())
    with pytest.raises(UsageError, match=r"optimizer\.lr") as caught:
        start(tmp_path, settings("optimizer.lr=0.5"))
    assert "0.0003" in caught.value.message
    assert "0.5" in caught.value.message


def test_resume_auto_takes_other_workers(tmp_path: Path) -> None:
    start(tmp_path, settings())
    given = settings("host.workers=auto", "host.timeout=9", f"steps={8 * BATCH}")
    assert start(tmp_path, given)["steps"]["used"] == 8 * BATCH
    assert "workers: auto" in (tmp_path / "x" / "config.yaml").read_text()


def test_resume_reads_keys_that_have_moved_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stop_after(tmp_path, settings(), monkeypatch, 3)
    tree = yaml_file.read(run.config_yaml, origin="", where="", rank=(0, 0)).tree
    for key in ("vectorizer", "workers", "timeout"):
        tree["env"][key] = tree["host"].pop(key)
    run.config_yaml.write_text(json.dumps(tree))
    seen = Listening()
    assert resume("x", runs_dir=tmp_path, reporter=seen)["ok"]
    assert "`env.workers` is now `host.workers`" in seen.warnings[0]


def test_resume_never_begins_anew_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stop_after(tmp_path, settings(), monkeypatch, 3)
    for path in checkpoint.committed(run.checkpoints):
        (path / "run.safetensors").write_bytes(b"")
    for _ in range(2):  # also after they have been set aside
        with pytest.raises(CheckpointError):
            start(tmp_path, settings())


def absolute_paths(run: RunDirectory) -> list[str]:
    """Files of a run that contain the path of its directory."""
    own = str(run.path).encode()
    files = [path for path in run.path.rglob("*") if path.is_file()]
    return [path.name for path in files if own in path.read_bytes()]


def test_moved_run_is_found_in_its_new_place(tmp_path: Path) -> None:
    start(tmp_path, settings())
    assert absolute_paths(RunDirectory(tmp_path / "x")) == []
    moved = (tmp_path / "x").rename(tmp_path / "y")
    result = resume(moved)
    assert (result["run"], result["path"]) == ("y", str(moved))
    checkpoints = [result["checkpoint"], result["best"]["checkpoint"]]
    assert [Path(path).parent for path in checkpoints] == 2 * [moved / "checkpoints"]
    more = resume(moved, steps=6 * BATCH)
    assert (more["path"], more["steps"]["used"]) == (str(moved), 6 * BATCH)
    assert not (tmp_path / "x").exists()


def test_copied_run_without_checkpoints_does_not_name_those_of_the_original(
    tmp_path: Path,
) -> None:
    start(tmp_path, settings())
    ignored = shutil.ignore_patterns("checkpoints")
    copy = Path(shutil.copytree(tmp_path / "x", tmp_path / "copy", ignore=ignored))
    result = resume(copy)
    assert (result["path"], result["checkpoint"]) == (str(copy), None)
    assert result["best"]["checkpoint"] is None
    logged = (copy / "metrics.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match="its checkpoints are missing"):
        resume(copy, steps=6 * BATCH)
    assert (copy / "metrics.jsonl").read_bytes() == logged


def test_result_of_an_older_version_has_the_paths_of_its_directory(
    tmp_path: Path,
) -> None:
    """Older versions stored paths."""
    start(tmp_path, settings())
    run = RunDirectory(tmp_path / "x")
    stored = json.loads(run.result_json.read_text())
    stored |= {
        "path": "/elsewhere/x",
        "checkpoint": "/elsewhere/x/checkpoints/000000004",
    }
    run.result_json.write_text(json.dumps(stored))
    result = resume(run.path)
    assert result["path"] == str(run.path)
    assert result["checkpoint"] == str(run.checkpoints / "000000004")


def test_failed_mark_of_the_best_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark, failures = RunDirectory.mark_best, []

    def full(self: RunDirectory, name: str, score: float) -> None:
        if score == 9.0 and not failures:
            failures.append(name)
            raise OSError(errno.ENOSPC, "no space")
        mark(self, name, score)

    monkeypatch.setattr(RunDirectory, "mark_best", full)
    result = start(tmp_path, settings())
    run = RunDirectory(tmp_path / "x")
    assert failures == ["000000004"]
    assert run.best() == ("000000004", 9.0)
    assert result["best"]["return_mean"] == 9.0


@pytest.mark.parametrize("number", range(1, ITERATIONS + 2))
def test_signal_in_an_evaluation_loses_it_until_the_run_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    given = settings()
    whole = tmp_path / "whole"
    expected = outcome(RunDirectory(whole / "x"), start(whole, given))
    asked = 0

    def interrupted(self: Steady, *args: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == number:
            signal.raise_signal(signal.SIGTERM)
        return played(self, *args)

    played = Steady.evaluate
    monkeypatch.setattr(Steady, "evaluate", interrupted)
    with pytest.raises(Interrupted) as stopped:
        start(tmp_path / "stopped", given)
    assert stopped.value.exit_code == ExitCode.TERMINATED
    run = RunDirectory(tmp_path / "stopped" / "x")
    assert run.read_result() is None
    assert outcome(run, start(tmp_path / "stopped", given)) == expected
