"""Runs as child processes: `pgcli train` many times, some at once.

Each child is the public command, so that a killed ladder leaves what `--resume auto`
goes on from. Children are no part of the terminal's process group: an interrupt reaches
the parent alone, which asks them to stop and waits until they have saved.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pgcli
from pgcli.config.dump import flow, to_mapping
from pgcli.config.load import resolve
from pgcli.config.schema import RunConfig
from pgcli.errors import ExitCode, PgcliError, UsageError
from pgcli.storage import json_files
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.stop_signals import Interrupted, stop_on_signal

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Job:
    """One run to be trained.

    Attributes:
      name: of the run.
      runs_dir: where it is kept.
      config: what `arguments` resolve to.
      arguments: of `pgcli train`, apart from the run's name and place.
    """

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
        """What is noted of a run that diverged: it gets no second chance."""
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
      job: which run.
      result: as `pgcli train --json` prints it; None where it diverged.
      diverged: why, where it did.
      seconds: taken here and now; None where the run had ended before.
    """

    job: Job
    result: Mapping[str, Any] | None
    diverged: str | None = None
    seconds: float | None = None


class RunFailed(PgcliError):  # noqa: N818 - says what happened
    """A run of several ended with an error; its exit code is passed on."""

    def __init__(self, name: str, code: int, error: Mapping[str, Any]) -> None:
        super().__init__(
            f"{name}: {error.get('message')}",
            where=error.get("where"),
            help=error.get("help"),
        )
        known = code in tuple(ExitCode) and code != ExitCode.DONE
        self.exit_code = ExitCode(code) if known else ExitCode.UNEXPECTED


def check_stored(jobs: Sequence[Job]) -> None:
    """Refuses runs that are there already with other settings.

    Raises:
      UsageError: a run was started with another configuration.
    """
    for job in jobs:
        run = job.run
        if not run.config_yaml.is_file():
            continue
        stored = resolve(file=run.config_yaml, flags={}, sets=[]).config
        if stored != job.config:
            raise UsageError(
                f"{job.name} is there already, with other settings: "
                + "; ".join(differences(stored, job.config)),
                where=str(run.path),
                help="give another --out, or the settings of before",
            )


def differences(before: RunConfig, now: RunConfig) -> list[str]:
    """The keys that differ between two configurations, with both values."""
    old, new = flat(before), flat(now)
    return [
        f"{key} {flow(old.get(key))} there, {flow(new.get(key))} here"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    ]


def flat(config: RunConfig) -> dict[str, Any]:
    """Every key of a configuration by its dotted path."""
    found: dict[str, Any] = {}
    for name, value in vars(config).items():
        if hasattr(value, "__dataclass_fields__"):
            found |= {f"{name}.{key}": inner for key, inner in vars(value).items()}
        else:
            found[name] = value
    return found


def finished(job: Job) -> Outcome | None:
    """How a run ended before, or None where there is something left to do."""
    run = job.run
    if run.config_yaml.is_file():
        result = run.read_result()
        if result is not None and result.get("ok"):
            return Outcome(job, result)
        noted = json_files.read_object(job.diverged_json)
        if noted is not None:
            return Outcome(job, None, diverged=str(noted.get("message")))
    return None


def run_all(
    jobs: Sequence[Job],
    workers: int,
    ended: Callable[[Outcome], None],
    waiting: Callable[[Job], None],
) -> list[Outcome]:
    """Trains every run, `workers` at a time; those that are finished are read only.

    Args:
      jobs: the runs, in the order to be started.
      workers: how many at once.
      ended: is told of each, as it ends.
      waiting: is told, once, of a run that another process is training.

    Returns:
      The outcomes, in the order of `jobs`.

    Raises:
      Interrupted: a signal came; every child has saved and ended.
      RunFailed: a run ended with an error other than divergence.
      UsageError: a run is there with other settings.
    """
    check_stored(jobs)
    outcomes: dict[str, Outcome] = {}
    todo: list[Job] = []
    for job in jobs:
        before = finished(job)
        if before is None:
            todo.append(job)
        else:
            outcomes[job.name] = before
            ended(before)
    with stop_on_signal() as stop, contextlib.ExitStack() as stack:
        running: list[_Child] = []
        stack.callback(lambda: _stop(running))
        said: set[str] = set()
        while todo or running:
            while todo and len(running) < workers and stop.code is None:
                free = next((j for j in todo if not j.run.is_locked()), None)
                if free is None:
                    break
                todo.remove(free)
                running.append(_Child(free))
            for job in todo[: workers - len(running)]:
                if job.name not in said and job.run.is_locked():
                    said.add(job.name)
                    waiting(job)
            time.sleep(POLL_SECONDS)
            for child in [c for c in running if c.process.poll() is not None]:
                running.remove(child)
                outcome = child.outcome()
                if outcome is None:  # locked between our look and its start
                    todo.append(child.job)
                    continue
                outcomes[child.job.name] = outcome
                ended(outcome)
            if stop.code is not None:
                _stop(running)
                raise Interrupted(
                    stop.code, {}, "give the same command again: it goes on"
                )
    return [outcomes[job.name] for job in jobs]


def _stop(running: "list[_Child]") -> None:
    """Asks children to save and end, and waits for them."""
    for child in running:
        child.process.terminate()
    try:
        for child in running:
            child.process.wait()
    finally:
        for child in running:
            child.process.kill()
            child.process.wait()
            child.close()
    running.clear()


class _Child:
    """A run being trained."""

    def __init__(self, job: Job) -> None:
        job.runs_dir.mkdir(parents=True, exist_ok=True)
        self.job = job
        self._start = time.perf_counter()
        self._out: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - see close
        self._err: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        # this very package, wherever it was imported from
        root = str(Path(pgcli.__file__).resolve().parents[1])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            job.command(),
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            process_group=0,
        )

    def outcome(self) -> Outcome | None:
        """How it ended; None where another process holds the run.

        Raises:
          RunFailed: with an error.
        """
        seconds = time.perf_counter() - self._start
        code = self.process.wait()
        self._out.seek(0)
        self._err.seek(0)
        text = self._out.read().decode(errors="replace").strip()
        said = self._err.read().decode(errors="replace").strip()
        self.close()
        try:
            answer: dict[str, Any] = json.loads(text.splitlines()[-1])
        except (ValueError, IndexError):
            last = said.splitlines()[-1:] or ["it said nothing"]
            answer = {"error": {"message": f"ended with status {code}: {last[0]}"}}
        error = answer.get("error") or {}
        if code == ExitCode.DONE and answer.get("ok"):
            self._check_config(answer)
            return Outcome(self.job, answer, seconds=seconds)
        if code == ExitCode.LOCKED:
            return None
        if code == ExitCode.DIVERGED:
            message = str(error.get("message"))
            json_files.write_object(self.job.diverged_json, {"message": message})
            return Outcome(self.job, None, message, seconds)
        raise RunFailed(self.job.name, code, error)

    def _check_config(self, answer: Mapping[str, Any]) -> None:
        """Refuses a run of other settings than planned: a preset has been edited."""
        if answer.get("config", to_mapping(self.job.config)) != to_mapping(
            self.job.config
        ):
            message = "trained with other settings than planned: was a preset edited?"
            raise RunFailed(
                self.job.name,
                ExitCode.USAGE,
                {"message": message, "help": "give another --out and begin again"},
            )

    def close(self) -> None:
        """Frees what the child has written to."""
        self._out.close()
        self._err.close()
