"""Run directories: the files in `runs/<name>/`, created exclusively and locked."""

import contextlib
import datetime
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgcli.errors import CheckpointError, UsageError
from pgcli.storage import files, json_files, run_name
from pgcli.storage.lock import is_held, locked
from pgcli.suggest import did_you_mean

FORMAT = 1
KIND = "pgcli run"

_CHECKPOINT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_REPLACED = ".replaced-"
_UNFINISHED = {"lock", ".meta.json.partial", "checkpoints"}


class Inside:
    """The path of a file or directory inside that of its owner."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, owner: Any, kind: type) -> Path:
        path: Path = owner.path
        return path / self._name


class NameTakenError(UsageError):
    """A run of this name exists."""


@dataclass(frozen=True)
class RunDirectory:
    """The files of one run."""

    path: Path

    @property
    def name(self) -> str:
        """Name of the run, which is that of its directory."""
        return self.path.resolve().name

    checkpoints = Inside("checkpoints")
    """The directory of checkpoints."""
    config_yaml = Inside("config.yaml")
    """The resolved configuration."""
    meta_json = Inside("meta.json")
    """Metadata: algorithm, environment, seed, versions, accelerator."""
    metrics_jsonl = Inside("metrics.jsonl")
    """One row per iteration; determined by seed and configuration."""
    eval_jsonl = Inside("eval.jsonl")
    """One row per evaluation; determined by seed and configuration."""
    timing_jsonl = Inside("timing.jsonl")
    """Wall-clock times."""
    curve_svg = Inside("curve.svg")
    """The learning curve so far."""
    result_json = Inside("result.json")
    """The result; exists after the run has ended."""
    best_json = Inside("best.json")
    """Name and score of the best checkpoint."""
    lock_file = Inside("lock")
    """The lock, which names its owner."""

    @classmethod
    def create(
        cls,
        runs_dir: Path,
        name: str | None,
        algo: str,
        env_id: str,
        overwrite: bool = False,
    ) -> "RunDirectory":
        """Creates a new run directory, exclusively.

        Args:
          runs_dir: directory of the runs; created if it does not exist.
          name: name of the run; None for one like `ppo2-CartPole-v1-k3f9wq`.
          algo: name of the algorithm.
          env_id: id of the environment.
          overwrite: whether to replace a run of that name, unless a live process
            writes to it.

        Raises:
          UsageError: the name is not valid; `NameTakenError` if it is taken.
          LockedError: a live process writes to the run to be replaced.
          OSError: a write failed; a run to be replaced is unchanged.
        """
        # a directory that did not exist
        if name is not None:
            run_name.check(name)
        facts = {"algo": algo, "env": env_id}
        files.ensure_directory(runs_dir)
        while name is None:
            path = runs_dir / run_name.automatic(algo, env_id)
            if _claim(path):
                return cls._fill(path, facts)
        path = runs_dir / name
        if _claim(path):
            return cls._fill(path, facts)

        # the name is taken
        if not overwrite:
            raise _taken(path)
        return cls(path)._replace(facts)

    @staticmethod
    def check_name(
        runs_dir: Path, name: str | None, resume: str, overwrite: bool
    ) -> None:
        """Raises a UsageError for a name that `create` would refuse."""
        if name is not None:
            run_name.check(name)
            if not overwrite and resume == "never" and os.path.lexists(runs_dir / name):
                raise _taken(runs_dir / name)
        elif resume == "auto":
            raise UsageError(
                "`--resume auto` needs the name of a run: without one, every start is "
                "a new run",
                help="--name NAME; or `pgcli resume RUN` for a run that exists",
            )

    @classmethod
    def open(cls, path: Path) -> "RunDirectory":
        """The run directory at `path`.

        Raises:
          UsageError: there is no run directory.
          CheckpointError: its meta.json is damaged or of a newer format.
        """
        run = cls(path)
        if not os.path.lexists(run.meta_json) or run.read_meta().get("kind") != KIND:
            raise UsageError("this is not a run directory", where=str(path))
        return run

    @classmethod
    def find(cls, run: str, runs_dir: Path) -> "RunDirectory":
        """The run with the name `run` in `runs_dir`, else the run at the path `run`.

        Raises:
          UsageError: the run does not exist.
          CheckpointError: its meta.json is damaged or of a newer format.
        """
        # a name, else a path
        named = cls(runs_dir / run)
        if run_name.is_valid(run) and os.path.lexists(named.meta_json):
            return cls.open(named.path)
        if run and os.path.lexists(run):
            return cls.open(Path(run).absolute())

        # neither
        remedy = did_you_mean(run, names(runs_dir), "`pgcli runs list` shows them")
        raise UsageError(f"there is no run {run!r}", where=str(runs_dir), help=remedy)

    def is_run(self) -> bool:
        """Whether the directory is that of a run, according to its meta.json."""
        with contextlib.suppress(CheckpointError, OSError):
            return (json_files.read_object(self.meta_json) or {}).get("kind") == KIND
        return False

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Holds the lock of the run inside the block, or raises `LockedError`."""
        return locked(self.lock_file)

    def is_locked(self) -> bool:
        """Whether a live process writes to this run."""
        return is_held(self.lock_file)

    def identity(self) -> tuple[int, int] | None:
        """(device, inode) of the lock file; None if the directory is not here.

        It differs if the directory was moved, deleted, or replaced by another run.
        """
        try:
            status = os.lstat(self.lock_file)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_dev, status.st_ino

    def write_meta(self, meta: Mapping[str, Any]) -> None:
        """Replaces the metadata, except format, kind and time of creation."""
        fixed = {"format", "kind", "created"}
        kept = {key: item for key, item in self.read_meta().items() if key in fixed}
        json_files.write_object(self.meta_json, {**kept, **meta, **kept})

    def read_meta(self) -> dict[str, Any]:
        """The metadata: `algo`, `env`, `created` and the content of `write_meta`.

        Raises:
          CheckpointError: meta.json is missing, damaged or of a newer format.
        """
        meta = json_files.read_object(self.meta_json)
        if meta is None:
            raise CheckpointError("meta.json is missing", where=str(self.path))
        version = meta.get("format")
        if type(version) is int and version > FORMAT:
            raise CheckpointError(
                f"run format {version} is newer than this pgcli, which reads up to "
                f"format {FORMAT}",
                where=str(self.path),
                help="update pgcli",
            )
        return meta

    def write_config(self, text: str) -> None:
        """Replaces `config.yaml`; the old content remains after an OSError."""
        files.replace_bytes(self.config_yaml, text.encode())

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Replaces the result. Its paths are left out, as the run may be moved."""
        stored = {key: value for key, value in result.items() if key != "path"}
        located = _with_checkpoints(stored, lambda path: Path(path).name)
        json_files.write_object(self.result_json, located)

    def read_result(self) -> dict[str, Any] | None:
        """The result, or None before the run has ended.

        Its paths are in this directory, wherever the run was trained; checkpoints that
        are not here are None. Raises a CheckpointError if it is damaged.
        """
        stored = json_files.read_object(self.result_json)
        if stored is None:
            return None

        def located(path: str) -> str | None:
            own = self.checkpoints / Path(path).name
            return str(own) if own.is_dir() else None

        names = {"ok": stored.get("ok"), "run": self.name, "path": str(self.path)}
        return names | _with_checkpoints(stored, located) | names

    def best(self) -> tuple[str, float] | None:
        """(name, score) of the best checkpoint, or None if there is none yet.

        Raises a CheckpointError if `best.json` is damaged.
        """
        stored = json_files.read_object(self.best_json)
        if stored is None:
            return None

        # a valid name, because it becomes part of a path
        name, score = stored.get("checkpoint"), stored.get("score")
        if not isinstance(name, str) or not _CHECKPOINT.fullmatch(name):
            raise CheckpointError(
                f"best.json names no checkpoint: {name!r}", where=str(self.path)
            )
        if isinstance(score, bool) or not isinstance(score, int | float):
            raise CheckpointError(
                f"best.json has no score: {score!r}", where=str(self.path)
            )
        return name, float(score)

    def mark_best(self, name: str, score: float) -> None:
        """Marks the committed checkpoint `name` as the best."""
        if not _CHECKPOINT.fullmatch(name) or not math.isfinite(score):
            raise ValueError(f"{name!r} with a score of {score} cannot be the best")
        json_files.write_object(
            self.best_json, {"checkpoint": name, "score": float(score)}
        )

    def unmark_best(self) -> None:
        """Removes the mark of the best checkpoint."""
        files.remove(self.best_json)
        files.sync_directory(self.path)

    @classmethod
    def _fill(cls, path: Path, facts: Mapping[str, Any]) -> "RunDirectory":
        """Creates the files of a run in a new directory; removes it on an error."""
        run = cls(path)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        try:
            files.make_directory(run.checkpoints)
            own = {"format": FORMAT, "kind": KIND, "created": now}
            json_files.write_object(run.meta_json, {**own, **facts})
            files.sync_directory(path.parent)
        except OSError:
            with contextlib.suppress(OSError):
                files.remove_tree(path)
            raise
        return run

    def _replace(self, facts: Mapping[str, Any]) -> "RunDirectory":
        """Replaces the run by a new one; restores it on an error."""
        # only run directories are replaced
        if not (self.is_run() or self.is_unfinished() or self._is_damaged_run()):
            raise UsageError(
                "--overwrite replaces only run directories, and this is not one",
                where=str(self.path),
                help="choose another --name",
            )

        # move the old run aside, create the new one, and remove the old one
        aside = self.path.with_name(
            _REPLACED + self.path.name + "-" + run_name.suffix()
        )
        with self.lock():
            files.rename(self.path, aside)
            try:
                files.make_directory(self.path)
                run = self._fill(self.path, facts)
            except OSError:
                with contextlib.suppress(OSError):
                    files.rename(aside, self.path)
                raise
            # the new run is complete: a failure to remove the old one is not an error
            with contextlib.suppress(OSError):
                files.remove_tree(aside)
        return run

    def _is_damaged_run(self) -> bool:
        """Whether meta.json is damaged, and all else is there as in a run."""
        try:
            json_files.read_object(self.meta_json)
            return False
        except CheckpointError:
            others = (self.config_yaml, self.lock_file, self.metrics_jsonl)
            return self.checkpoints.is_dir() and all(map(Path.is_file, others))

    def is_unfinished(self) -> bool:
        """Whether a process was killed while it created the directory."""
        if self.path.is_symlink() or not self.path.is_dir():
            return False
        # only files that `create` and the start of training write
        names = {child.name for child in self.path.iterdir()}
        if self.is_run():
            names -= {"meta.json", ".config.yaml.partial"}
        empty = not self.checkpoints.exists() or not any(self.checkpoints.iterdir())
        return names <= _UNFINISHED and empty


def _taken(path: Path) -> NameTakenError:
    return NameTakenError(
        f"the run name {path.name} is taken",
        where=str(path),
        help="--resume auto continues it, --overwrite replaces it, or choose another "
        "--name",
    )


def _claim(path: Path) -> bool:
    """Creates a directory; returns whether it did not exist before."""
    try:
        files.make_directory(path)
    except FileExistsError:
        return False
    return True


def names(runs_dir: Path) -> list[str]:
    """Names of the directories with a meta.json, sorted; empty if not readable."""
    try:
        return sorted(
            path.name
            for path in runs_dir.iterdir()
            if run_name.is_valid(path.name) and os.path.lexists(path / "meta.json")
        )
    except OSError:
        return []


def _with_checkpoints(
    result: Mapping[str, Any], change: Callable[[str], str | None]
) -> dict[str, Any]:
    """A result in which the paths of its checkpoints are changed."""
    changed = dict(result)
    for key, value in result.items():
        if key == "best" and isinstance(value, dict):
            changed[key] = _with_checkpoints(value, change)
        elif key == "checkpoint" and isinstance(value, str):
            changed[key] = change(value)
    return changed
