"""Runs on two processes of this machine, with one CPU device each."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.small_runs import SMALL, arrays, rows

from pgcli.storage import checkpoint
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.distributed.link import free_port

pytestmark = pytest.mark.slow

LIMIT = 300  # seconds; 10 are enough unless the machine is busy
BOUND = 30  # seconds in which the others end
DEVICE = ("--algo", "a2c", "--env", "func:Pendulum-v1")
SETS = (*SMALL, "checkpoint.every=1000", "eval.every=1000")

Process = subprocess.Popen[str]


def start(runs_dir: Path, command: str, *words: str, count: int = 2) -> list[Process]:
    """The processes of a command; `count` 1 is the command alone."""
    environ = {k: v for k, v in os.environ.items() if k != "PJRT_NPROC"}
    port = free_port("127.0.0.1")
    shared = [sys.executable, "-m", "pgcli", command, *words]
    shared += ["--runs-dir", str(runs_dir), "-q", "--json"]
    shared += ["--coordinator", f"127.0.0.1:{port}"]
    return [
        subprocess.Popen(
            [*shared, "--process", f"{i}/{count}"],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(count)
    ]


def train(
    runs_dir: Path, *words: str, name: str = "x", count: int = 2
) -> list[Process]:
    sets = [word for text in SETS for word in ("--set", text)]
    return start(runs_dir, "train", *words, *sets, "--name", name, count=count)


def finish(processes: list[Process], *codes: int) -> list[dict[str, Any]]:
    """The JSON objects of processes that exit with these codes, or all with 0."""
    ends = [process.communicate(timeout=LIMIT) for process in processes]
    expected = list(codes) or [0] * len(processes)
    assert [process.returncode for process in processes] == expected, ends
    return [json.loads(out) if out else {} for out, _ in ends]


def newest(run: RunDirectory) -> dict[str, np.ndarray]:
    stored, damaged = checkpoint.newest_verified(run.checkpoints)
    assert not damaged
    return arrays(stored.groups)


def assert_close(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> None:
    assert left.keys() == right.keys()
    for key in right:
        np.testing.assert_allclose(left[key], right[key], rtol=1e-5, atol=1e-5)


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def wait_for(path: Path, processes: list[Process]) -> None:
    deadline = time.monotonic() + LIMIT
    while not path.exists() or not path.stat().st_size:
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_processes_are_one_process_with_two_devices(tmp_path: Path) -> None:
    words = (*DEVICE, "--steps", "2000")
    (result, follower) = finish(train(tmp_path, *words, name="two"))
    assert follower == {"ok": True, "process": 1, "processes": 2}
    assert result["ok"]
    finish(train(tmp_path, *words, "--devices", "2", name="one", count=1))
    assert_close(*(newest(RunDirectory(tmp_path / name)) for name in ("two", "one")))


def returns(path: Path) -> dict[tuple[int, int], Any]:
    """Mean return by iteration and member, of metrics or evaluations."""
    return {(x["iteration"], x["member"]): x["return_mean"] for x in rows(path)}


@pytest.mark.parametrize("env", ["func:Pendulum-v1", "Pendulum-v1"])
def test_members_on_two_processes_are_those_of_one(tmp_path: Path, env: str) -> None:
    words = ("--algo", "a2c", "--env", env, "--steps", "2000", "--seeds", "5")
    finish(train(tmp_path, *words, name="two"))
    finish(train(tmp_path, *words, name="one", count=1))
    two, one = (RunDirectory(tmp_path / name) for name in ("two", "one"))
    # other numbers of members per program may round differently
    for name in ("metrics_jsonl", "eval_jsonl"):
        left, right = (returns(getattr(run, name)) for run in (two, one))
        assert left == pytest.approx(right, rel=1e-5)
    assert_close(newest(two), newest(one))


def test_host_environments_on_any_number_of_processes_are_the_same(
    tmp_path: Path,
) -> None:
    """A run of three, stopped, continued by two, is that of one without a stop."""
    words = ("--algo", "a2c", "--env", "Pendulum-v1", "--steps", "20_000")
    processes = train(tmp_path, *words, count=3)
    run = RunDirectory(tmp_path / "x")
    wait_for(run.metrics_jsonl, processes)
    processes[2].send_signal(signal.SIGTERM)
    finish(processes, 143, 143, 143)
    (resumed, _) = finish(start(tmp_path, "resume", str(run.path)))
    assert resumed["resume_level"] == "exact"
    finish(train(tmp_path, *words, name="one", count=1))
    one = RunDirectory(tmp_path / "one")
    assert rows(run.metrics_jsonl) == rows(one.metrics_jsonl)
    left, right = newest(run), newest(one)
    assert all(left[key].tobytes() == right[key].tobytes() for key in right)


@pytest.mark.parametrize("who", [(0,), (1,), (0, 1)])
def test_a_signal_to_any_process_saves_and_the_resume_is_exact(
    tmp_path: Path, who: tuple[int, ...]
) -> None:
    words = (*DEVICE, "--steps", "6000")
    processes = train(tmp_path, *words)
    run = RunDirectory(tmp_path / "x")
    wait_for(run.metrics_jsonl, processes)
    for index in who:
        processes[index].send_signal(signal.SIGTERM)
    finish(processes, 143, 143)
    (resumed, _) = finish(start(tmp_path, "resume", str(run.path)))
    assert resumed["resume_level"] == "exact"
    finish(train(tmp_path, *words, name="whole"))
    whole = RunDirectory(tmp_path / "whole")
    assert rows(run.metrics_jsonl) == rows(whole.metrics_jsonl)
    left, right = newest(run), newest(whole)
    assert all(left[key].tobytes() == right[key].tobytes() for key in right)


@pytest.mark.timeout(3600)
def test_a_killed_process_ends_the_others_and_damages_nothing(tmp_path: Path) -> None:
    """30 kills at random moments of one run, each followed by a resume."""
    choose = random.Random(0)
    run, late = RunDirectory(tmp_path / "x"), []
    for attempt in range(30):
        words = ("resume", str(run.path)) if run.config_yaml.exists() else None
        steps = (*DEVICE, "--steps", "10_000_000")
        processes = (
            start(tmp_path, *words) if words else train(tmp_path, *steps, "--overwrite")
        )
        # process 0 locks the run when the other one has joined
        deadline = time.monotonic() + LIMIT
        while f'"pid": {processes[0].pid},' not in read(run.path / "lock"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(choose.uniform(0, 10))
        victim = choose.randrange(2)
        processes[victim].kill()
        begin = time.monotonic()
        ends = [process.communicate(timeout=LIMIT) for process in processes]
        late.append(time.monotonic() - begin)
        other = processes[1 - victim]
        assert other.returncode == 6, (attempt, ends)
        assert json.loads(ends[1 - victim][0])["error"]["message"], attempt
        if checkpoint.committed(run.checkpoints):
            _, damaged = checkpoint.newest_verified(run.checkpoints)
            assert not damaged, attempt
    assert max(late) < BOUND, late
