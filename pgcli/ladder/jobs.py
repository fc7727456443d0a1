"""Training runs as child processes: `pgcli train`, several at a time.

Each child runs the public command with `--resume auto`, so a stopped ladder continues
where it was. Children have process groups of their own: Ctrl-C reaches the parent only,
which asks them to save and end, and waits for them.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pgcli.config.dump import differences, to_mapping
from pgcli.config.load import of_run
from pgcli.config.schema import RunConfig
from pgcli.errors import ExitCode, PgcliError, UsageError
from pgcli.storage import json_files
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.stop_signals import Interrupted, stop_on_signal

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Job:
    """A run to train, by `pgcli train` with some arguments that resolve to `config`."""

    name: str
    runs_dir: Path
    config: RunConfig
    arguments: tuple[str, ...]

    @property
    def run(self) -> RunDirectory:
        """The run's directory."""
        return RunDirectory(self.runs_dir / self.name)

    @property
    def diverged_json(self) -> Path:
        """The note that the run diverged. Such a run is not trained again."""
        return self.runs_dir / f"{self.name}.diverged.json"

    def command(self) -> list[str]:
        """The command line of the child."""
        own = ["--name", self.name, "--runs-dir", str(self.runs_dir)]
        train = [sys.executable, "-m", "pgcli", "train", *self.arguments]
        return [*train, *own, "--resume", "auto", "-q", "--json"]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
      result: the output of `pgcli train --json`; None if the run diverged.
      diverged: the reason if the run diverged.
      seconds: wall time; None if the run had already ended.
    """

    job: Job
    result: Mapping[str, Any] | None
    diverged: str | None = None
    seconds: float | None = None


class RunFailed(PgcliError):  # noqa: N818 - the name is the event
    """A run ended with an error. Its exit code is passed on."""

    def __init__(self, name: str, code: int, error: Mapping[str, Any]) -> None:
        super().__init__(
            f"{name}: {error.get('message')}",
            where=error.get("where"),
            help=error.get("help"),
        )
        known = code in tuple(ExitCode) and code != ExitCode.DONE
        self.exit_code = ExitCode(code) if known else ExitCode.UNEXPECTED


def run_all(
    jobs: Sequence[Job],
    workers: int,
    ended: Callable[[Outcome], None],
    waiting: Callable[[Job], None],
) -> list[Outcome]:
    """Trains the runs, `workers` at a time, and returns the outcomes in their order.

    Finished runs are only read. `ended` is called with each outcome when its run ends,
    `waiting` once for each run that another process is training.

    Raises:
      Interrupted: a signal arrived; every child has saved and ended.
      RunFailed: a run ended with an error other than divergence.
      UsageError: a run exists with other settings.
    """
    check_stored(jobs)
    outcomes: dict[str, Outcome] = {}

    def end(outcome: Outcome) -> None:
        outcomes[outcome.job.name] = outcome
        ended(outcome)

    for job in jobs:
        if (before := finished(job)) is not None:
            end(before)
    todo = [job for job in jobs if job.name not in outcomes]
    announced: set[str] = set()
    running: list[_Child] = []
    # a thread per child reads its output, so that no pipe fills up
    with stop_on_signal() as stop, ThreadPoolExecutor(workers) as readers:
        try:
            while todo or running:
                # start runs, except those that another process is training
                for job in todo[:]:
                    if len(running) == workers or stop.code is not None:
                        break
                    if not job.run.is_locked():
                        todo.remove(job)
                        running.append(_start(job, readers))
                    elif job.name not in announced:
                        announced.add(job.name)
                        waiting(job)
                time.sleep(POLL_SECONDS)
                # collect the outcomes of those that have ended
                for child in [child for child in running if child.output.done()]:
                    running.remove(child)
                    outcome = _outcome(child)
                    if outcome is None:  # another process was faster
                        todo.append(child.job)
                    else:
                        end(outcome)
                if stop.code is not None:
                    help = "repeat the same command to continue"
                    raise Interrupted(stop.code, {}, help)
        finally:
            _stop(running)
    return [outcomes[job.name] for job in jobs]


class _Child(NamedTuple):
    job: Job
    process: subprocess.Popen[bytes]
    output: Future[tuple[bytes, bytes]]
    start: float


def _start(job: Job, readers: Executor) -> _Child:
    job.runs_dir.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        job.command(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
    )
    return _Child(
        job, process, readers.submit(process.communicate), time.perf_counter()
    )


def _stop(children: Sequence[_Child]) -> None:
    """Asks children to save and end, and waits. A second Ctrl-C kills them."""
    for child in children:
        child.process.terminate()
    try:
        wait([child.output for child in children])
    finally:
        for child in children:
            child.process.kill()


def _outcome(child: _Child) -> Outcome | None:
    """The outcome of a child that has ended; None if another process holds its run.

    Raises `RunFailed` if the child failed.
    """
    job, code = child.job, child.process.returncode
    seconds = time.perf_counter() - child.start
    out, err = (text.decode(errors="replace") for text in child.output.result())
    try:
        answer: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    except (ValueError, IndexError):
        last = (err.strip().splitlines() or ["no output"])[-1]
        answer = {"error": {"message": f"ended with status {code}: {last}"}}
    error = answer.get("error") or {}
    planned = to_mapping(job.config)
    if code == ExitCode.DONE and answer.get("ok"):
        if answer.get("config", planned) != planned:
            message = "trained with other settings than planned: was a preset edited?"
            help = "give another --out and start again"
            raise RunFailed(
                job.name, ExitCode.USAGE, {"message": message, "help": help}
            )
        return Outcome(job, answer, seconds=seconds)
    if code == ExitCode.LOCKED:
        return None
    if code == ExitCode.DIVERGED:
        message = str(error.get("message"))
        json_files.write_object(job.diverged_json, {"message": message})
        return Outcome(job, None, message, seconds)
    raise RunFailed(job.name, code, error)


def finished(job: Job) -> Outcome | None:
    """The outcome of a run that ended earlier, or None if it is yet to be trained."""
    run = job.run
    if run.config_yaml.is_file():
        result = run.read_result()
        if result is not None and result.get("ok"):
            return Outcome(job, result)
        diverged = json_files.read_object(job.diverged_json)
        if diverged is not None:
            return Outcome(job, None, diverged=str(diverged.get("message")))
    return None


def check_stored(jobs: Sequence[Job]) -> None:
    """Raises a UsageError if a run that exists has other settings than its job."""
    for job in jobs:
        run = job.run
        if not run.config_yaml.is_file():
            continue
        stored = of_run(run.config_yaml).config
        differing = [
            f"{key} {there} there, {here} here"
            for key, there, here in differences(stored, job.config)
        ]
        if differing:
            raise UsageError(
                f"{job.name} exists with other settings: {'; '.join(differing)}",
                where=str(run.path),
                help="give another --out, or the settings of the existing run",
            )
