"""Runs as child processes, with scripts in place of training."""

import dataclasses
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from pgcli.config.dump import to_yaml
from pgcli.config.load import resolve
from pgcli.config.schema import RunConfig
from pgcli.errors import ExitCode, UsageError
from pgcli.ladder.jobs import Job, Outcome, RunFailed, run_all
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.stop_signals import Interrupted

RESULT = {"ok": True, "train": {"return_mean": 1.0}, "eval": {"return_mean": 2.0}}
CONFIG = resolve(file=None, flags={}, sets=[], use_preset=False).config
SAY = f"print({json.dumps(RESULT)!r})"


@dataclasses.dataclass(frozen=True)
class Script(Job):
    """A job whose child runs a line of Python."""

    code: str = SAY

    def command(self) -> list[str]:
        return [sys.executable, "-c", self.code]


def script(directory: Path, name: str, code: str = SAY) -> Script:
    return Script(name, directory, CONFIG, (), code)


def fail(code: int, message: str) -> str:
    answer = json.dumps({"ok": False, "error": {"message": message}})
    return f"import sys; print({answer!r}); sys.exit({code})"


def make_run(job: Job, config: RunConfig) -> RunDirectory:
    """A run directory as `train` begins it."""
    run = RunDirectory.create(job.runs_dir, job.name, "ppo2", "CartPole-v1")
    run.write_config(to_yaml(config))
    return run


def nobody(_: object) -> None:
    pass


def test_outcomes_are_in_the_order_of_the_jobs(tmp_path: Path) -> None:
    slow = script(tmp_path, "slow", f"import time; time.sleep(0.5); {SAY}")
    fast = script(tmp_path, "fast")
    seen: list[str] = []
    found = run_all([slow, fast], 2, lambda o: seen.append(o.job.name), nobody)
    assert [outcome.job.name for outcome in found] == ["slow", "fast"]
    assert seen == ["fast", "slow"]
    assert found[0].result == RESULT


def test_no_more_children_than_workers(tmp_path: Path) -> None:
    mark = (
        "import os, time; p = f'{os.getpid()}.on'; open(p, 'w').close(); "
        "n = len([f for f in os.listdir() if f.endswith('.on')]); "
        "open(f'{os.getpid()}.saw', 'w').write(str(n)); time.sleep(0.2); "
        f"os.remove(p); {SAY}"
    )
    code = f"import os; os.chdir({str(tmp_path)!r}); {mark}"
    run_all([script(tmp_path, f"j{i}", code) for i in range(5)], 2, nobody, nobody)
    saw = [int(path.read_text()) for path in tmp_path.glob("*.saw")]
    assert len(saw) == 5
    assert max(saw) <= 2


def test_divergence_is_an_outcome_and_is_remembered(tmp_path: Path) -> None:
    job = script(tmp_path, "d", fail(ExitCode.DIVERGED, "not finite"))
    [outcome] = run_all([job], 1, nobody, nobody)
    assert (outcome.result, outcome.diverged) == (None, "not finite")
    make_run(job, job.config)
    again = dataclasses.replace(job, code="raise SystemExit('must not run')")
    [outcome] = run_all([again], 1, nobody, nobody)
    assert (outcome.diverged, outcome.seconds) == ("not finite", None)


def test_failure_names_the_run_and_passes_the_exit_code_on(tmp_path: Path) -> None:
    job = script(tmp_path, "f", fail(ExitCode.ENVIRONMENT, "it broke"))
    with pytest.raises(RunFailed, match="f: it broke") as caught:
        run_all([job], 1, nobody, nobody)
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


def test_run_of_other_settings_than_planned_is_a_failure(tmp_path: Path) -> None:
    answer = json.dumps(RESULT | {"config": {"seed": 5}})
    with pytest.raises(RunFailed, match="other settings") as caught:
        run_all([script(tmp_path, "f", f"print({answer!r})")], 1, nobody, nobody)
    assert caught.value.exit_code == ExitCode.USAGE


def test_failure_without_an_answer_shows_its_last_words(tmp_path: Path) -> None:
    code = "import sys; print('Killed by fate', file=sys.stderr); sys.exit(1)"
    with pytest.raises(RunFailed, match="status 1: Killed by fate"):
        run_all([script(tmp_path, "f", code)], 1, nobody, nobody)


def test_failure_stops_the_other_children(tmp_path: Path) -> None:
    wait = f"import time; time.sleep(60); {SAY}"
    jobs = [script(tmp_path, "w", wait), script(tmp_path, "f", fail(3, "broke"))]
    start = time.perf_counter()
    with pytest.raises(RunFailed):
        run_all(jobs, 2, nobody, nobody)
    assert time.perf_counter() - start < 30


def test_finished_run_is_read_and_not_started(tmp_path: Path) -> None:
    job = script(tmp_path, "done", "raise SystemExit('must not run')")
    make_run(job, job.config).write_result(RESULT)
    [outcome] = run_all([job], 1, nobody, nobody)
    assert outcome.result is not None
    assert outcome.result.items() >= RESULT.items()
    assert outcome.seconds is None


def test_run_with_other_settings_is_refused_before_anything_starts(
    tmp_path: Path,
) -> None:
    first, job = script(tmp_path, "first"), script(tmp_path, "other")
    make_run(job, dataclasses.replace(job.config, steps=7))
    with pytest.raises(UsageError, match="steps 7 there, 100000 here"):
        run_all([first, job], 1, lambda _: pytest.fail("one ran"), nobody)


def test_locked_run_is_waited_for(tmp_path: Path) -> None:
    job = script(tmp_path, "busy")
    run = make_run(job, job.config)
    waited: list[str] = []
    release = threading.Event()

    def hold() -> None:
        with run.lock():
            held.set()
            release.wait(20)

    held = threading.Event()
    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)

    def waiting(job: Job) -> None:
        waited.append(job.name)
        release.set()

    [outcome] = run_all([job], 1, nobody, waiting)
    holder.join()
    assert waited == ["busy"]
    assert outcome.result == RESULT


def test_signal_stops_children_after_they_have_saved(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    code = (
        "import signal, time, pathlib\n"
        "def stop(*_):\n"
        f"    time.sleep(0.3); pathlib.Path({str(saved)!r}).touch()\n"
        "    raise SystemExit(143)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\n"
        "time.sleep(60)\n"
    )

    def interrupt() -> None:
        while not (tmp_path / "ready").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    ended: list[Outcome] = []
    with pytest.raises(Interrupted) as caught:
        run_all([script(tmp_path, "s", code)], 1, ended.append, nobody)
    thread.join()
    assert caught.value.exit_code == ExitCode.TERMINATED
    assert saved.exists()
    assert ended == []


def test_second_interrupt_kills_children_that_do_not_end(tmp_path: Path) -> None:
    code = (
        "import os, signal, time, pathlib\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"path = pathlib.Path({str(tmp_path / 'new')!r})\n"
        "path.write_text(str(os.getpid()))\n"
        f"path.rename({str(tmp_path / 'ready')!r})\n"
        "time.sleep(60)\n"
    )

    def interrupt_twice() -> None:
        while not (tmp_path / "ready").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.5)  # polls every 0.1 s
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt_twice)
    thread.start()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        run_all([script(tmp_path, "s", code)], 1, nobody, nobody)
    thread.join()
    assert time.perf_counter() - start < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "ready").read_text()), 0)


def test_long_output_does_not_block_a_child(tmp_path: Path) -> None:
    code = f"import sys; print('x' * 10**6, file=sys.stderr); {SAY}"
    [outcome] = run_all([script(tmp_path, "s", code)], 1, nobody, nobody)
    assert outcome.result == RESULT
