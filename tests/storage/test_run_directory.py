"""Run directories: creation, locks, lists."""

import errno
import json
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.disk_faults import (
    CODES,
    Failing,
    Killed,
    Killing,
    count,
    intercept,
    snapshot,
)

from pgcli.errors import CheckpointError, LockedError, UsageError
from pgcli.storage import lock
from pgcli.storage.run_directory import RunDirectory
from pgcli.storage.run_list import list_runs

HOLDER = """
import sys, time
from pathlib import Path
from pgcli.storage.run_directory import RunDirectory
with RunDirectory(Path(sys.argv[1])).lock():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", os.fstat)


def create(runs: Path, name: str | None = "a", overwrite: bool = False) -> RunDirectory:
    return RunDirectory.create(runs, name, "ppo2", "CartPole-v1", overwrite)


def hold(run: RunDirectory) -> "subprocess.Popen[str]":
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(run.path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def end(holder: "subprocess.Popen[str]") -> None:
    holder.kill()
    holder.communicate()


@pytest.mark.parametrize(
    ("env", "part"),
    [
        ("CartPole-v1", "CartPole-v1"),
        ("func:CartPole-v1", "func-CartPole-v1"),
        ("ALE/Pong-v5", "ALE-Pong-v5"),
        ("../é x", "..---x"),
    ],
)
def test_create_makes_up_a_name(tmp_path: Path, env: str, part: str) -> None:
    run = RunDirectory.create(tmp_path / "deep" / "runs", None, "ppo2", env)
    assert re.fullmatch(f"ppo2-{re.escape(part)}-[a-z0-9]{{6}}", run.name)
    assert run.path.parent == tmp_path / "deep" / "runs"
    assert run.checkpoints.is_dir()
    assert run.read_meta()["env"] == env


def test_create_draws_again_where_a_made_up_name_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter("aaaaaaaaaaaabbbbbb")
    monkeypatch.setattr("secrets.choice", lambda _: next(drawn))
    names = [create(tmp_path, None).name for _ in range(2)]
    assert names == ["ppo2-CartPole-v1-aaaaaa", "ppo2-CartPole-v1-bbbbbb"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".a", "-a", "a/b", "../a", "a b", "é", "a\n", "a" * 201]
)
def test_create_refuses_names_that_are_paths_or_flags(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(UsageError, match="is not a valid name of a run") as caught:
        create(tmp_path, name)
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_create_refuses_a_taken_name_with_the_remedies(tmp_path: Path) -> None:
    create(tmp_path)
    with pytest.raises(UsageError, match="the run name a is taken") as caught:
        create(tmp_path)
    assert caught.value.help is not None
    for remedy in ("--resume auto", "--overwrite", "--name"):
        assert remedy in caught.value.help


def test_create_gives_a_name_to_one_of_many(tmp_path: Path) -> None:
    barrier = threading.Barrier(6)

    def race(_: int) -> str:
        barrier.wait()
        try:
            create(tmp_path)
        except UsageError:
            return "taken"
        return "made"

    with ThreadPoolExecutor(6) as pool:
        results = sorted(pool.map(race, range(6)))
    assert results == ["made", *5 * ["taken"]]


def test_overwrite_begins_anew(tmp_path: Path) -> None:
    old = create(tmp_path)
    old.write_result({"ok": True})
    new = create(tmp_path, overwrite=True)
    assert new.read_result() is None
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_overwrite_refuses_what_is_no_run(tmp_path: Path) -> None:
    for name, file in (("a", "config.yaml"), ("b", "meta.json"), ("c", "thesis.tex")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text("{}")
    (tmp_path / "d").write_text("a file")
    before = snapshot(tmp_path)
    for name in "abcd":
        with pytest.raises(UsageError, match="only run directories"):
            create(tmp_path, name, overwrite=True)
    assert snapshot(tmp_path) == before


def test_overwrite_refuses_a_run_that_is_being_written(tmp_path: Path) -> None:
    run = create(tmp_path)
    with run.lock():
        before = snapshot(tmp_path)
        with pytest.raises(LockedError):
            create(tmp_path, overwrite=True)
        assert snapshot(tmp_path) == before


@pytest.mark.parametrize("code", CODES)
def test_create_failing_at_any_operation_leaves_no_run(
    tmp_path: Path, code: int
) -> None:
    for n in range(count(lambda: create(tmp_path / "count"))):
        runs = tmp_path / str(n)
        with intercept(Failing(n, code, False)), pytest.raises(OSError, match="Errno"):
            create(runs)
        assert not (runs / "a").exists()
        create(runs)


def test_create_killed_after_any_operation_can_be_overwritten(tmp_path: Path) -> None:
    for n in range(count(lambda: create(tmp_path / "count"))):
        runs = tmp_path / str(n)
        with intercept(Killing(n, False)), pytest.raises(Killed):
            create(runs)
        assert create(runs, overwrite=True).is_run()


@pytest.mark.parametrize("lasting", [False, True])
def test_overwrite_failing_at_any_operation_keeps_a_run(
    tmp_path: Path, lasting: bool
) -> None:
    create(tmp_path / "count")
    for n in range(count(lambda: create(tmp_path / "count", overwrite=True))):
        runs = tmp_path / str(n)
        create(runs).write_result({"ok": True})
        with intercept(Failing(n, CODES[0], lasting)):
            try:
                new = create(runs, overwrite=True)
            except (OSError, UsageError):
                kept = [p for p in runs.iterdir() if (p / "result.json").exists()]
                # the old run, in its place unless that failed too
                assert len(kept) == 1
                if not lasting:
                    assert kept[0].name == "a"
            else:
                assert new.read_result() is None


def test_lock_refuses_the_second_at_once_and_names_the_owner(tmp_path: Path) -> None:
    run = create(tmp_path)
    holder = hold(run)
    try:
        assert run.is_locked()
        start = time.monotonic()
        with (
            pytest.raises(LockedError, match=f"process {holder.pid} on .* since 20"),
            run.lock(),
        ):
            pass
        # the other process holds it until it is killed
        assert time.monotonic() - start < 60
    finally:
        end(holder)
    assert not run.is_locked()  # the kernel released it when the process ended
    with run.lock():
        owner = json.loads(run.lock_file.read_bytes())
        assert owner["pid"] == os.getpid()
        assert set(owner) == {"pid", "host", "since"}


def test_lock_is_released_by_an_exception(tmp_path: Path) -> None:
    run = create(tmp_path)
    with pytest.raises(KeyboardInterrupt), run.lock():
        raise KeyboardInterrupt
    with run.lock():
        pass


def test_lock_is_not_hindered_by_a_look_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create(tmp_path)
    flock, looks = lock.fcntl.flock, iter([1, 2])

    def looked_at(descriptor: int, how: int) -> None:
        if next(looks, None):  # as `is_held` of another process does for a moment
            raise BlockingIOError(errno.EAGAIN, "busy")
        flock(descriptor, how)

    monkeypatch.setattr(lock.fcntl, "flock", looked_at)
    with run.lock():
        assert run.is_locked()


def test_lock_is_refused_on_a_directory_that_was_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create(tmp_path)
    flock = lock.fcntl.flock

    def late(descriptor: int, how: int) -> None:
        monkeypatch.setattr(lock.fcntl, "flock", flock)
        create(tmp_path, overwrite=True)  # between our open and our flock
        flock(descriptor, how)

    run.lock_file.touch()
    monkeypatch.setattr(lock.fcntl, "flock", late)
    with pytest.raises(LockedError, match="replaced"), run.lock():
        pass


def test_lock_survives_a_full_disk(tmp_path: Path) -> None:
    run = create(tmp_path)
    with run.lock():
        pass
    with intercept(Failing(1, CODES[0], True)), run.lock():
        assert run.is_locked()


def test_lock_that_cannot_be_opened_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError), RunDirectory(tmp_path / "none").lock():
        pass


def test_meta_keeps_what_makes_it_a_run(tmp_path: Path) -> None:
    run = create(tmp_path)
    created = run.read_meta()["created"]
    run.write_meta({"algo": "a2c", "env": "x", "seed": 3, "kind": "other"})
    assert run.is_run()
    meta = run.read_meta()
    assert (meta["algo"], meta["seed"], meta["created"]) == ("a2c", 3, created)


def test_best_is_the_one_marked_last(tmp_path: Path) -> None:
    run = create(tmp_path)
    assert run.best() is None
    run.mark_best("000000140", 471.2)
    run.mark_best("000000160", 480)
    assert run.best() == ("000000160", 480.0)


@pytest.mark.parametrize(
    "text",
    ['{"checkpoint": "../x", "score": 1}', '{"checkpoint": "1"}', "[]", "{", '"\\ud8'],
)
def test_best_refuses_damage_and_paths(tmp_path: Path, text: str) -> None:
    run = create(tmp_path)
    run.best_json.write_text(text)
    with pytest.raises(CheckpointError, match=r"best\.json"):
        run.best()


def test_best_refuses_a_score_that_is_not_finite(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be the best"):
        create(tmp_path).mark_best("1", float("nan"))


@pytest.mark.parametrize("code", CODES)
def test_record_failing_at_any_operation_is_old_or_new(
    tmp_path: Path, code: int
) -> None:
    run = create(tmp_path)
    for n in range(count(lambda: run.mark_best("1", 1))):
        run.mark_best("1", 1)
        with intercept(Failing(n, code, False)), pytest.raises(OSError, match="Errno"):
            run.mark_best("2", 2)
        assert run.best() in (("1", 1.0), ("2", 2.0))
        with intercept(Killing(n, True)), pytest.raises(Killed):
            run.mark_best("3", 3)
        assert run.best() in (("1", 1.0), ("2", 2.0), ("3", 3.0))


def test_read_refuses_pipes_and_links_without_a_hang(tmp_path: Path) -> None:
    run = create(tmp_path)
    os.mkfifo(run.result_json)
    with pytest.raises(CheckpointError, match="regular file"):
        run.read_result()
    run.result_json.unlink()
    run.result_json.symlink_to(run.meta_json)
    with pytest.raises(CheckpointError, match="cannot be read"):
        run.read_result()


def test_find_takes_a_name_or_a_path(tmp_path: Path) -> None:
    run = create(tmp_path / "runs")
    assert RunDirectory.find("a", tmp_path / "runs") == run
    assert RunDirectory.find(str(run.path), tmp_path) == run


def test_find_suggests_the_nearest_name(tmp_path: Path) -> None:
    create(tmp_path, "lr1e-3-s0")
    with pytest.raises(UsageError, match="no run 'lr1e-3-s1'") as caught:
        RunDirectory.find("lr1e-3-s1", tmp_path)
    assert caught.value.help == "did you mean `lr1e-3-s0`?"


def test_open_tells_damaged_and_newer_from_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run directory"):
        RunDirectory.open(tmp_path)
    run = create(tmp_path)
    run.meta_json.write_text('{"format": 2}')
    with pytest.raises(CheckpointError, match="format 2 is newer"):
        RunDirectory.open(run.path)
    run.meta_json.write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        RunDirectory.open(run.path)


def test_list_runs_has_the_mean_over_members(tmp_path: Path) -> None:
    """The last evaluation of both members, not of the last one only."""
    run = create(tmp_path, "seeds")
    scores = [(1, 0, 1.0), (1, 1, 3.0), (2, 0, 5.0), (2, 1, 10.0)]
    for iteration, member, score in scores:
        row = {"iteration": iteration, "member": member, "return_mean": score}
        with run.eval_jsonl.open("a") as file:
            file.write(json.dumps(row) + "\n")
    assert list_runs(tmp_path)[0].eval_return == (5 + 10) / 2


def test_list_runs_tells_how_each_stands(tmp_path: Path) -> None:
    for name in ("damaged", "finished", "running", "signal", "stopped"):
        run = create(tmp_path, name)
        run.write_meta({"algo": "ppo2", "env": "CartPole-v1", "seed": 0})
    (tmp_path / "damaged" / "meta.json").write_text("{")
    (tmp_path / ".replaced-x-abcdef").mkdir()
    (tmp_path / "notes.txt").touch()
    result = {"steps": {"used": 2048}, "eval": {"return_mean": 500.0}}
    RunDirectory(tmp_path / "finished").write_result({**result, "stopped": "budget"})
    RunDirectory(tmp_path / "signal").write_result({"stopped": "signal"})
    stopped = RunDirectory(tmp_path / "stopped")
    stopped.metrics_jsonl.write_text('{"steps": 128}\n{"steps": 256}\n{"steps": 3')
    stopped.eval_jsonl.write_text('{"return_mean": 21.5}\n')
    with RunDirectory(tmp_path / "running").lock():
        results = {run.name: run for run in list_runs(tmp_path)}
    assert {name: run.status for name, run in results.items()} == {
        "damaged": "damaged",
        "finished": "finished",
        "running": "running",
        "signal": "stopped",
        "stopped": "stopped",
    }
    assert (results["finished"].steps, results["finished"].eval_return) == (2048, 500.0)
    assert (results["stopped"].steps, results["stopped"].eval_return) == (256, 21.5)
    assert results["stopped"].seed == 0
    assert list_runs(tmp_path / "none") == []
