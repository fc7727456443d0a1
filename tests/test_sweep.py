"""The shipped sweep, run as it is: to its end, killed in the middle, and again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "configs" / "sweeps" / "ppo2_cartpole.sh"
LIMIT = 120  # seconds; a run takes a few, but the machine may be busy

STUB = """\
import json, sys
words = sys.argv[1:]
lr = next(w for w in words if w.startswith("optimizer.lr=")).split("=")[1]
seed = words[words.index("--seed") + 1]
with open(LOG, "a") as log:
    log.write(json.dumps(words) + "\\n")
if (lr, seed) == ("2e-3", "1"):
    print(json.dumps({"ok": False}))
    sys.exit(5)
result = {
    "ok": True,
    "config": {"eval": {"every": 5, "return_mean": 77}},
    "train": {"return_mean": 66.0},
    "eval": {"episodes": 9, "return_mean": 1000 * float(lr) + int(seed), "ci": [1, 2]},
    "best": {"return_mean": 88.0},
}
print(json.dumps(result))
"""


def stub(tmp_path: Path) -> tuple[str, Path]:
    """A pgcli that answers at once, and its log."""
    program, log = tmp_path / "stub.py", tmp_path / "log"
    program.write_text(f"LOG = {str(log)!r}\n{STUB}")
    return f"{sys.executable} {program}", log


def sweep(environ: Mapping[str, str], **settings: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["sh", str(SCRIPT)],
        env={**environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_sweep_prints_mean_and_range_over_the_seeds(tmp_path: Path) -> None:
    program, log = stub(tmp_path)
    settings = {"LRS": "1e-3 3e-3", "SEEDS": "0 1 4", "RUNS_DIR": str(tmp_path / "r")}
    process = sweep(os.environ, PGCLI=program, **settings)
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert lines == [
        ["lr", "seeds", "mean", "min", "max"],
        ["1e-3", "3", "2.7", "1.0", "5.0"],  # 1, 2, 5: (1 + 2 + 5)/3
        ["3e-3", "3", "4.7", "3.0", "7.0"],  # 3, 4, 7
    ]
    calls = log.read_text().splitlines()
    assert len(calls) == 6
    for word in ('"--algo", "ppo2"', '"--resume", "auto"', '"CartPole-v1"', '"-q"'):
        assert all(word in call for call in calls)
    assert len({call.split('"--name", ')[1].split(",")[0] for call in calls}) == 6
    assert not any("--steps" in call for call in calls)


def test_sweep_goes_on_past_a_run_that_fails_and_says_so(tmp_path: Path) -> None:
    program, _ = stub(tmp_path)
    settings = {"LRS": "2e-3", "SEEDS": "0 1 2", "RUNS_DIR": str(tmp_path / "r")}
    process = sweep(os.environ, PGCLI=program, **settings)
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    assert out.splitlines()[1].split() == ["2e-3", "2", "3.0", "2.0", "4.0"]
    assert "lr 2e-3, seed 1: failed with exit code 5" in err


def wait_for(path: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + LIMIT
    while not path.exists() or not path.read_bytes():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_sweep_that_was_killed_repeats_nothing(
    tmp_path: Path, user_environ: Mapping[str, str], number: signal.Signals
) -> None:
    environ = {**user_environ, "PGCLI_CACHE": os.environ["PGCLI_CACHE"]}
    runs = tmp_path / "runs"
    settings = {
        "PGCLI": f"{sys.executable} -m pgcli",
        "ENV": "func:CartPole-v1",
        "LRS": "1e-3 3e-3",
        "SEEDS": "0",
        "STEPS": "20000",
        "RUNS_DIR": str(runs),
    }
    first, second = (runs / f"func_CartPole-v1-lr{lr}-seed0" for lr in ("1e-3", "3e-3"))
    process = sweep(environ, **settings)
    wait_for(second / "metrics.jsonl", process)  # the second run is under way
    done = (first / "result.json").stat().st_mtime_ns
    if number == signal.SIGKILL:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == (143 if number == signal.SIGTERM else -9), err
    assert not (second / "result.json").exists()
    steps = len((second / "metrics.jsonl").read_text().splitlines())
    again = sweep(environ, **settings)
    out, err = again.communicate(timeout=LIMIT)
    assert again.returncode == 0, err
    assert (first / "result.json").stat().st_mtime_ns == done
    assert (second / "result.json").exists()
    # 20,000 steps in iterations of 256: 79, each logged once
    assert steps <= len((second / "metrics.jsonl").read_text().splitlines()) == 79
    table = [line.split() for line in out.splitlines()]
    assert [line[:2] for line in table[1:]] == [["1e-3", "1"], ["3e-3", "1"]]
    assert all(float(line[2]) > 9 for line in table[1:])
