"""Exit codes and JSON of runs that fail, and of runs that are finished already."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import pytest
from support.disk_faults import FullFrom, count, intercept
from support.scripted_envs import Faulty
from support.small_runs import BATCH, PPO2, SMALL, rows
from support.steady_loop import Steady

from pgcli.cli.main import main
from pgcli.envs import user_modules
from pgcli.storage import checkpoint
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.seeds import env_seeds

Call = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """A function that runs `pgcli COMMAND … --json`: (exit code, JSON object)."""

    def run(command: str, *words: str) -> tuple[int, dict[str, Any]]:
        code = main([command, *words, "--runs-dir", str(tmp_path), "-q", "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


def sets(*texts: str) -> list[str]:
    return [word for text in texts for word in ("--set", text)]


TRAIN = ("--env", "func:CartPole-v1", "--steps", str(3 * BATCH), *sets(*SMALL, *PPO2))


@pytest.fixture
def _steady(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgcli.training.run.DeviceLoop", Steady)


@pytest.mark.usefixtures("_steady")
def test_train_under_a_name_that_is_taken_exits_2(tmp_path: Path, call: Call) -> None:
    assert call("train", *TRAIN, "--name", "x")[0] == 0
    code, answer = call("train", *TRAIN, "--name", "x")
    assert code == 2
    assert answer["ok"] is False
    for remedy in ("--resume auto", "--overwrite", "--name"):
        assert remedy in answer["error"]["help"]
    code, answer = call("train", *TRAIN, "--name", "x", "--overwrite")
    assert code == 0


@pytest.mark.usefixtures("_steady")
@pytest.mark.parametrize("command", ["resume", "eval", "train"])
def test_damaged_meta_of_a_run_exits_4_and_is_named(
    tmp_path: Path, call: Call, command: str
) -> None:
    assert call("train", *TRAIN, "--name", "x")[0] == 0
    (tmp_path / "x" / "meta.json").write_text("{")
    again = (*TRAIN, "--name", "x", "--resume", "auto")
    code, answer = call(command, *(again if command == "train" else ("x",)))
    assert code == 4
    assert "meta.json is damaged" in answer["error"]["message"]
    assert answer["error"]["where"] == str(tmp_path / "x")


def test_train_that_the_environment_rules_out_leaves_no_run(
    tmp_path: Path, call: Call
) -> None:
    sizes = sets("env.num_envs=2", "host.workers=0")
    code, answer = call("train", "--algo", "reinforce", "--env", "Blackjack-v1", *sizes)
    assert code == 2
    assert "no time limit" in answer["error"]["message"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("resume", ["never", "auto"])
def test_train_under_a_name_outside_the_runs_exits_2(
    tmp_path: Path, call: Call, resume: str
) -> None:
    code, answer = call("train", *TRAIN, "--name", "../x", "--resume", resume)
    assert code == 2
    assert "is not a valid name of a run" in answer["error"]["message"]
    assert not (tmp_path.parent / "x").exists()


@pytest.mark.usefixtures("_steady")
def test_train_whose_last_state_could_not_be_saved_exits_4_with_its_figures(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgcli.training.session.RETRY_SECONDS", 0.0)
    begun = count(lambda: call("train", *TRAIN, "--name", "y", "--steps", "1"))
    with intercept(FullFrom(begun)):
        code, answer = call("train", *TRAIN, "--name", "x")
    assert code == 4
    assert "its last state could not be saved" in answer["error"]["message"]
    assert answer["ok"] is False
    assert answer["eval"]["return_mean"] == 1.0
    assert answer["eval"]["checkpoint"] is None
    assert call("resume", "x")[0] == 0


@pytest.mark.usefixtures("_steady")
def test_train_resume_auto_on_a_finished_run_returns_its_result(call: Call) -> None:
    first = call("train", *TRAIN, "--name", "x", "--resume", "auto")
    assert first[0] == 0
    assert call("train", *TRAIN, "--name", "x", "--resume", "auto") == first


@pytest.mark.usefixtures("_steady")
def test_train_resume_auto_with_another_configuration_exits_2(call: Call) -> None:
    call("train", *TRAIN, "--name", "x")
    code, answer = call(
        "train", *TRAIN, "--name", "x", "--resume", "auto", "--seed", "4"
    )
    assert code == 2
    assert "seed: 0 in the run, 4 asked" in answer["error"]["message"]


@pytest.mark.usefixtures("_steady")
def test_overwrite_replaces_a_run_with_a_damaged_meta(
    tmp_path: Path, call: Call
) -> None:
    assert call("train", *TRAIN, "--name", "x")[0] == 0
    (tmp_path / "x" / "meta.json").write_text("{")
    assert call("train", *TRAIN, "--name", "x", "--overwrite")[0] == 0
    assert RunDirectory(tmp_path / "x").is_run()


@pytest.mark.usefixtures("_steady")
def test_overwrite_refuses_a_directory_that_only_resembles_a_run(
    tmp_path: Path, call: Call
) -> None:
    assert call("train", *TRAIN, "--name", "x")[0] == 0
    (tmp_path / "x" / "meta.json").write_text('{"kind": "another program"}')
    assert call("train", *TRAIN, "--name", "x", "--overwrite")[0] == 2
    (tmp_path / "x" / "meta.json").write_text("{")
    (tmp_path / "x" / "lock").unlink()
    assert call("train", *TRAIN, "--name", "x", "--overwrite")[0] == 2


@pytest.mark.usefixtures("_steady")
def test_train_on_a_run_that_is_being_written_exits_7(
    tmp_path: Path, call: Call
) -> None:
    call("train", *TRAIN, "--name", "x")
    with RunDirectory(tmp_path / "x").lock():
        again = [*TRAIN, "--name", "x", "--resume", "auto"]
        for words in ([*again], [*TRAIN, "--name", "x", "--overwrite"]):
            code, answer = call("train", *words)
            assert code == 7
            assert "is being written by process" in answer["error"]["message"]
        assert call("resume", "x")[0] == 7


def test_train_without_the_accelerator_asked_for_exits_6(
    tmp_path: Path, call: Call
) -> None:
    code, answer = call("train", *TRAIN, "--name", "x", "--accelerator", "gpu")
    assert code == 6
    assert "`gpu` is not available" in answer["error"]["message"]
    assert "--accelerator cpu" in answer["error"]["help"]
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "words", [("--env", "CartPol-v1"), ("--env", "func:CartPol-v1")]
)
def test_train_on_no_environment_exits_2_and_leaves_nothing(
    tmp_path: Path, call: Call, words: tuple[str, ...]
) -> None:
    code, answer = call("train", *words, "--name", "x")
    assert code == 2
    assert answer["error"]["help"]
    assert not (tmp_path / "x").exists()


class Wearing(Faulty):
    """Fails after 20 steps; records all seeds passed to `reset`."""

    given: ClassVar[list[int]] = []

    def __init__(self) -> None:
        super().__init__("step", 20, only_index=0)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if seed is not None:
            self.given.append(seed)
        return super().reset(seed=seed)


@pytest.fixture
def wearing() -> Any:
    gymnasium.register("Wearing-v0", Wearing)
    Wearing.given.clear()
    yield "Wearing-v0"
    del gymnasium.registry["Wearing-v0"]


def test_failing_environment_exits_3_behind_a_checkpoint_of_all_that_was_logged(
    tmp_path: Path, call: Call, wearing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the failure is in a chunk that already has rows, on any machine
    monkeypatch.setattr("pgcli.training.session.CHUNK_SECONDS", 1e9)
    quiet = sets(*SMALL, "eval.every=0", "rollout.num_steps=8")
    words = ("--algo", "a2c", "--env", wearing, "--steps", "1000", *quiet)
    run = RunDirectory(tmp_path / "x")
    # 20 steps contain two iterations of 8; the third fails, and their rows are kept
    for attempt in range(2):
        code, answer = call("train", *words, "--name", "x", "--resume", "auto")
        assert code == 3
        assert "environment 0 failed at its step 20" in answer["error"]["message"]
        assert str(Wearing.given[-4]) in answer["error"]["where"]
        done = 2 * (attempt + 1)
        logged = [row["iteration"] for row in rows(run.metrics_jsonl)]
        assert logged == list(range(1, done + 1))
        assert checkpoint.committed(run.checkpoints)[-1].name == f"{done:09d}"
    # four environments, made twice: the second time with new seeds; 0 looks for masks
    assert len(set(Wearing.given) - {0}) == 8


@pytest.mark.parametrize("seeds", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_device_environment_with_an_infinite_reward_exits_3(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch, seeds: str
) -> None:
    """The 20th step is the 4th of the third rollout of 8."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "cases")
    monkeypatch.setattr(user_modules, "NAMED", [])
    code, answer = call(
        "train",
        *("--env", "func:Infinite", "--env-module", "bounds", "--steps", "1000"),
        *("--name", "x", "--seeds", seeds, "--algo", "a2c"),
        *sets(*SMALL, "env.max_episode_steps=null", "checkpoint.every=32"),
    )
    assert code == 3
    error = answer["error"]
    assert "reward of environment 0 is not finite at step 3 of" in error["message"]
    assert "envs check" in error["help"]
    assert checkpoint.committed(tmp_path / "x/checkpoints")[-1].name == "000000002"


LOST = {
    "kill": ("its worker was killed by SIGKILL", "at its step 12"),
    "sleep": ("no answer in 0.5 s", "at its step 12"),
    "unpicklable": ("UnpicklableError", "at its step 12"),
    "nan": ("the observation of environment 3 is not finite", "at step 4 of the"),
}


@pytest.fixture
def bad() -> Any:
    gymnasium.register("Bad-v0", "support.failing_env:Bad")
    yield "Bad-v0"
    del gymnasium.registry["Bad-v0"]


@pytest.mark.parametrize("fault", ["base", "generator_exit"])
def test_whatever_leaves_a_step_exits_3_behind_a_checkpoint(
    tmp_path: Path, call: Call, bad: str, fault: str
) -> None:
    kwargs = f"{{fault: {fault}, at: 12, seed: {env_seeds(0, 'train', 4)[0]}}}"
    more = sets(*SMALL, "eval.every=0", f"env.kwargs={kwargs}")
    words = ("--algo", "a2c", "--env", bad, "--steps", "1000", "--name", "x")
    code, answer = call("train", *words, *more)
    assert code == 3
    assert "environment 0 failed at its step 12" in answer["error"]["message"]
    run = RunDirectory(tmp_path / "x")
    assert checkpoint.committed(run.checkpoints)[-1].name == "000000001"


@pytest.mark.parametrize(
    ("workers", "number", "code"),
    [
        (0, signal.SIGTERM, 143),
        pytest.param(1, signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param("thread", signal.SIGTERM, 143, marks=pytest.mark.slow),
    ],
)
def test_one_signal_ends_a_run_whose_environment_hangs(
    tmp_path: Path,
    call: Call,
    bad: str,
    monkeypatch: pytest.MonkeyPatch,
    workers: Any,
    number: int,
    code: int,
) -> None:
    monkeypatch.setattr("pgcli.training.stop_signals.PATIENCE_SECONDS", 0.2)
    kwargs = f"{{fault: sleep, at: 12, seed: {env_seeds(0, 'train', 4)[-1]}}}"
    more = sets(
        *SMALL, "eval.every=0", f"env.kwargs={kwargs}", f"host.workers={workers}"
    )
    words = ("--algo", "a2c", "--env", bad, "--steps", "1000", "--name", "x")
    hung = Path(tmp_path / "x/checkpoints/000000000")

    def signal_once_begun() -> None:
        while not hung.exists():
            time.sleep(0.01)
        time.sleep(1.0)
        os.kill(os.getpid(), number)

    threading.Thread(target=signal_once_begun, daemon=True).start()
    exit_code, answer = call("train", *words, *more)
    assert exit_code == code
    assert "a checkpoint is committed" in answer["error"]["message"]
    run = RunDirectory(tmp_path / "x")
    # step 12 is in the second rollout of 8 steps, which is given up
    assert checkpoint.committed(run.checkpoints)[-1].name == "000000001"


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["deadlock", "make_deadlock"])
def test_signal_ends_a_run_that_is_stuck_in_native_code(
    tmp_path: Path, fault: str
) -> None:
    module = "import gymnasium\ngymnasium.register('Bad-v0', 'support.failing_env:Bad')"
    (tmp_path / "bad.py").write_text(module)
    kwargs = f"{{fault: {fault}, at: 12, seed: {env_seeds(0, 'train', 4)[0]}}}"
    more = sets(*SMALL, "eval.every=0", f"env.kwargs={kwargs}")
    words = ["train", "--env", "Bad-v0", "--env-module", "bad", "--name", "x", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pgcli", *words, *more],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    line = next(line for line in process.stderr if "has not answered for 10 s" in line)
    assert "environment 0 (Bad-v0" in line or "the constructor of Bad-v0" in line
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert time.monotonic() - start < 10  # 5 on a machine that is not busy
    assert process.returncode == 143
    answer = json.loads(out)
    assert "no answer from" in answer["error"]["message"]
    assert (answer["error"]["help"] is None) == (fault == "make_deadlock")


@pytest.mark.parametrize(
    "fault",
    [pytest.param(x, marks=() if x == "kill" else pytest.mark.slow) for x in LOST],
)
def test_failing_worker_exits_3_behind_a_checkpoint_and_leaves_no_process(
    tmp_path: Path, call: Call, bad: str, fault: str
) -> None:
    last = env_seeds(0, "train", 4)[-1]
    kwargs = f"{{fault: {fault}, at: 12, seed: {last}}}"
    more = sets(
        *SMALL,
        "eval.every=0",
        "host.workers=1",
        "host.timeout=0.5",
        f"env.kwargs={kwargs}",
    )
    words = ("--algo", "a2c", "--env", bad, "--steps", "1000", "--name", "x")
    code, answer = call("train", *words, *more)
    assert code == 3
    for part in LOST[fault]:
        assert part in answer["error"]["message"]
    assert answer["error"]["where"] == f"environment Bad-v0, seed {last}"
    run = RunDirectory(tmp_path / "x")
    # step 12 is in the second rollout of 8 steps: one iteration is logged and kept
    assert [row["iteration"] for row in rows(run.metrics_jsonl)] == [1]
    assert checkpoint.committed(run.checkpoints)[-1].name == "000000001"
    assert run.read_meta()["helpers"] == "1 worker"
    if fault in ("sleep", "unpicklable"):
        assert "support/failing_env.py" in (run.path / "log.txt").read_text()
        assert str(run.path / "log.txt") in answer["error"]["help"]
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    for pid in children.split():
        assert (
            b"pgcli.envs.workers.worker_process"
            not in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
