"""Runs of processes that are stopped by signals continue as if uninterrupted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.checkpoints import digest
from support.small_runs import SMALL, rows

from pgcli.storage import checkpoint
from pgcli.storage.run_directory import RunDirectory

LIMIT = 120  # seconds; a few are enough unless the machine is busy

# On one core this takes about a second, after two or three of start and compilation.
STEPS = 320_000
SETTINGS = (
    *SMALL,
    f"checkpoint.every={STEPS // 10}",
    f"eval.every={STEPS // 20}",
    "log.every=10",
)
DEVICE = ("--algo", "a2c", "--env", "func:Pendulum-v1", "--steps", str(STEPS))
HOST = ("--algo", "a2c", "--env", "Pendulum-v1", "--steps", "500_000")


def pgcli(runs_dir: Path, command: str, *words: str) -> "subprocess.Popen[str]":
    environ = {k: v for k, v in os.environ.items() if k != "PJRT_NPROC"}
    flags = ["--runs-dir", str(runs_dir), "-q", "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "pgcli", command, *words, *flags],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def train(runs_dir: Path, *words: str) -> "subprocess.Popen[str]":
    sets = [word for text in SETTINGS for word in ("--set", text)]
    return pgcli(runs_dir, "train", *words, *sets, "--name", "x")


def finish(process: "subprocess.Popen[str]", code: int = 0) -> dict[str, Any]:
    """The JSON object of a process that exits with this code."""
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == code, err
    answer = json.loads(out)
    assert isinstance(answer, dict)
    return answer


def is_logging(run: RunDirectory) -> bool:
    return run.metrics_jsonl.exists() and run.metrics_jsonl.stat().st_size > 0


def is_configured(run: RunDirectory) -> bool:
    return run.config_yaml.exists()


def when(
    ready: Callable[[RunDirectory], bool],
    runs_dir: Path,
    process: "subprocess.Popen[str]",
) -> RunDirectory:
    """Waits until a run has reached a state, before its end."""
    run = RunDirectory(runs_dir / "x")
    deadline = time.monotonic() + LIMIT
    while not ready(run):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return run


def ending(run: RunDirectory, answer: dict[str, Any]) -> dict[str, Any]:
    """Files and results that must be byte-equal, however often a run was stopped."""
    last, best = checkpoint.committed(run.checkpoints)[-1], run.best()
    assert best is not None
    return {
        "metrics.jsonl": run.metrics_jsonl.read_bytes(),
        "eval.jsonl": run.eval_jsonl.read_bytes(),
        "last": (last.name, digest(last)),
        "best": (best, digest(run.checkpoints / best[0])),
        "answer": {k: answer[k] for k in ("steps", "train", "eval", "stopped")},
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    runs_dir = tmp_path_factory.mktemp("undisturbed")
    answer = finish(train(runs_dir, *DEVICE))
    assert answer["resume_level"] is None
    first = ending(RunDirectory(runs_dir / "x"), answer)
    assert len(first["eval.jsonl"].splitlines()) == 20
    assert len({row["return_mean"] for row in rows(runs_dir / "x/eval.jsonl")}) > 10
    return first


def stop(process: "subprocess.Popen[str]", number: int, code: int) -> dict[str, Any]:
    """Sends a signal to a process; returns its JSON object if it stopped early."""
    process.send_signal(number)
    answer = finish(process, code)
    assert answer["ok"] is False
    assert answer["stopped"] == "signal"
    assert answer["error"]["exit_code"] == code
    assert "pgcli resume" in answer["error"]["help"]
    checkpoint.load(Path(answer["checkpoint"]))
    return answer


@pytest.mark.parametrize(
    ("number", "code", "ready"),
    [
        (signal.SIGTERM, 143, is_logging),
        pytest.param(signal.SIGUSR1, 143, is_logging, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, is_logging, marks=pytest.mark.slow),
        # during compilation
        pytest.param(signal.SIGTERM, 143, is_configured, marks=pytest.mark.slow),
    ],
)
def test_run_stopped_by_a_signal_and_resumed_ends_like_the_undisturbed(
    undisturbed: dict[str, Any], tmp_path: Path, number: int, code: int, ready: Any
) -> None:
    process = train(tmp_path, *DEVICE)
    run = when(ready, tmp_path, process)
    answer = stop(process, number, code)
    assert answer["steps"]["used"] < STEPS
    assert run.read_result() is None
    assert int(Path(answer["checkpoint"]).name) * 32 == answer["steps"]["used"]
    resumed = finish(pgcli(tmp_path, "resume", "x", "--require-exact"))
    assert resumed["resume_level"] == "exact"
    assert ending(run, resumed) == undisturbed


@pytest.mark.slow
def test_run_killed_and_started_again_ends_like_the_undisturbed(
    undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    process = train(tmp_path, *DEVICE, "--resume", "auto")
    run = when(is_logging, tmp_path, process)
    time.sleep(time.time() % 0.5)  # any moment
    process.kill()
    process.communicate()
    answer = finish(train(tmp_path, *DEVICE, "--resume", "auto"))
    assert ending(run, answer) == undisturbed


@pytest.mark.slow
def test_host_run_is_not_resumed_where_only_exact_will_do(tmp_path: Path) -> None:
    process = train(tmp_path, *HOST)
    when(is_logging, tmp_path, process)
    stop(process, signal.SIGINT, 130)
    run = RunDirectory(tmp_path / "x")
    for path in checkpoint.committed(run.checkpoints):  # checkpoints of older versions
        stored = checkpoint.load(path)
        shutil.rmtree(path)
        del stored.groups["env"]
        checkpoint.save(run.checkpoints, path.name, stored.groups, stored.meta)
    before = run.config_yaml.read_bytes()
    words = ("resume", "x", "--steps", "600_000", "--require-exact")
    refused = finish(pgcli(tmp_path, *words), 2)
    assert "learner-exact" in refused["error"]["message"]
    assert "before they were stored" in refused["error"]["help"]
    assert run.config_yaml.read_bytes() == before


@pytest.mark.slow
def test_run_killed_ten_times_ends_like_the_undisturbed(
    undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "x")
    for moment in range(10):
        process = train(tmp_path, *DEVICE, "--resume", "auto")
        time.sleep(1 + 0.3 * moment + time.time() % 0.3)
        process.kill()
        process.communicate()
    answer = finish(train(tmp_path, *DEVICE, "--resume", "auto"))
    assert ending(run, answer) == undisturbed


@pytest.mark.slow
def test_host_run_interrupted_continues_exactly_and_logs_each_step_once(
    tmp_path: Path,
) -> None:
    process = train(tmp_path, *HOST)
    run = when(is_logging, tmp_path, process)
    stopped = stop(process, signal.SIGINT, 130)
    used = stopped["steps"]["used"]
    process = pgcli(tmp_path, "resume", "x")
    offset = run.metrics_jsonl.stat().st_size
    when(lambda run: run.metrics_jsonl.stat().st_size > offset, tmp_path, process)
    again = stop(process, signal.SIGTERM, 143)
    assert again["resume_level"] == "exact"
    logged = [row["iteration"] for row in rows(run.metrics_jsonl)]
    assert logged == list(range(10, 10 * len(logged) + 1, 10))
    assert again["steps"]["used"] > used
