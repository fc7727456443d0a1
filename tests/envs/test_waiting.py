"""Calls of environments in progress are seen from another thread."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pgcli.envs.waiting import CALLS, Waited, Waits, exits_refused, watching

EXITS = """
import os

import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv


class Exits(CartPoleEnv):
    def __init__(self, end="make", **more):
        super().__init__(**more)
        if end == "make":
            os._exit(0)

    def step(self, action):
        os._exit(0)


gymnasium.register("Exits-v0", entry_point=Exits, max_episode_steps=9)
"""


class Step:
    """A call."""

    def __init__(self) -> None:
        self.count = 0

    def whereabouts(self) -> str:
        return f"step {self.count}"

    def progress(self) -> object:
        return self.count


def test_call_that_does_not_answer_is_reported_less_and_less_often() -> None:
    late: list[tuple[str, float]] = []

    def note(call: Waited, seconds: float) -> None:
        late.append((call.whereabouts(), seconds))

    step = Step()
    end = time.monotonic() + 60
    with watching(note, 0.1), Waits(step):
        while len(late) < 3 and time.monotonic() < end:
            time.sleep(0.05)
    assert late[:3] == [("step 0", 0.1), ("step 0", 0.2), ("step 0", 0.4)]
    assert CALLS == {}


def test_call_that_makes_progress_is_not_reported() -> None:
    late: list[float] = []
    step = Step()
    with watching(lambda call, seconds: late.append(seconds), 2.0), Waits(step):
        for _ in range(12):
            time.sleep(0.2)
            step.count += 1
    assert late == []


def test_exit_of_an_environment_is_an_exception(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    with exits_refused():
        os._exit(3)  # not in a call
        with Waits(Step()), pytest.raises(SystemExit, match=r"os\._exit\(0\)"):
            os._exit(0)
        with Waits(Step()):
            monkeypatch.setattr(os, "getpid", lambda: -1)  # a forked process
            os._exit(4)
    assert left == [3, 4]
    os._exit(5)
    assert left == [3, 4, 5]


@pytest.mark.parametrize("end", [pytest.param("make", marks=pytest.mark.slow), "step"])
def test_environment_that_leaves_the_process_ends_with_an_error(
    end: str, tmp_path: Path
) -> None:
    (tmp_path / "exits.py").write_text(EXITS)
    words = "--env Exits-v0 --env-module exits --no-preset --json"
    more = ["--env-kwargs", f"end={end}", "--set", "host.workers=0"]
    done = subprocess.run(
        [sys.executable, "-m", "pgcli", "train", *words.split(), *more],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert "SystemExit: os._exit(0)" in done.stdout
