"""The directory of a sweep: the file, the record of each trial, runs, workers."""

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgcli.config.dump import differences
from pgcli.errors import UsageError
from pgcli.runs_dir import RUNS_DIR
from pgcli.storage import files, json_files
from pgcli.storage.run_directory import Inside, RunDirectory
from pgcli.sweep.plan import Plan, load, name_of

ALL = "all-trials"
"""Name of the run that contains all trials."""

NETWORK = ("nfs", "cifs", "smb", "fuse.sshfs", "lustre", "beegfs", "gpfs")
"""Kinds of file systems that several machines share, by their beginnings."""

MAY_DIFFER = ("sampler", "pruner", "trials", "hours", "slurm")
"""Keys of the file that may change between two starts of a sweep."""


@dataclass(frozen=True)
class SweepDirectory:
    """The files of a sweep."""

    path: Path

    file = Inside("sweep.yaml")
    """The sweep file, as it was at the last start."""
    settings = Inside("sweep.json")
    """URL of the storage and modules of environments."""
    runs = Inside("runs")
    """The directory of the trials' runs."""
    workers = Inside("workers")
    """The directory of the workers' locks and logs."""

    def run(self, number: int) -> RunDirectory:
        """The run of a trial, or that of all trials together."""
        own, all_trials = (self.runs / name for name in (name_of(number), ALL))
        together = all_trials.is_dir() and not own.is_dir()
        return RunDirectory(all_trials if together else own)

    def may_start_together(self) -> bool:
        """Whether no trial has a run of its own."""
        return not any(self.runs.glob("trial-*"))

    def _record(self, number: int) -> Path:
        return self.path / "trials" / f"{name_of(number)}.json"

    def read_record(self, number: int) -> dict[str, Any]:
        """The record of a trial; empty before it starts."""
        return json_files.read_object(self._record(number)) or {}

    def write_record(self, number: int, record: Mapping[str, Any]) -> None:
        """Replaces the record of a trial."""
        json_files.write_object(self._record(number), record)

    def records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(number, record) of every trial that has started."""
        for path in sorted(self._record(0).parent.glob("trial-*.json")):
            number = int(path.stem.partition("-")[2])
            yield number, self.read_record(number)

    def read_settings(self) -> dict[str, Any]:
        """The settings of the sweep; empty before its first start."""
        return json_files.read_object(self.settings) or {}

    def plan(self) -> Plan:
        """The plan of the sweep; a UsageError if this is not the directory of one."""
        if not self.file.is_file():
            raise UsageError(
                "this is not the directory of a sweep",
                where=str(self.path),
                help="`pgcli sweep FILE.yaml` starts a sweep",
            )
        return load(self.file, check=False)

    def prepare(self, plan: Plan, settings: Mapping[str, Any]) -> None:
        """Creates the directory; a UsageError if it contains another sweep."""
        if self.file.is_file():
            _check_same(self, plan)
        try:
            for path in (self.runs, self.workers, self._record(0).parent):
                files.ensure_directory(path)
            base = plan.file.base
            if base is not None and base.is_file():
                target = self.path / base.name
                if not target.exists() or not target.samefile(base):
                    shutil.copyfile(base, target)
            if not (self.file.exists() and self.file.samefile(plan.file.path)):
                files.replace_bytes(self.file, plan.file.path.read_bytes())
            json_files.write_object(self.settings, settings)
        except OSError as error:
            raise UsageError(
                f"the sweep's directory cannot be written: {error.strerror}",
                where=str(error.filename or self.path),
                help="choose another --out",
            ) from None


def find(name: str) -> SweepDirectory:
    """The directory of a sweep: a path, a file, or a name in `runs/sweeps`."""
    path = Path(name)
    if path.is_file():
        return default(path)
    named = RUNS_DIR / "sweeps" / name
    return SweepDirectory(path if path.is_dir() or not named.is_dir() else named)


def default(file: Path) -> SweepDirectory:
    """The directory of a sweep file."""
    return SweepDirectory(RUNS_DIR / "sweeps" / file.stem)


def shared_file_warning(storage: str | None, path: Path) -> str | None:
    """A warning if the study is a file on a network file system."""
    scheme, _, name = (storage or f"sqlite:///{path.absolute()}").partition("://")
    if scheme not in ("sqlite", "journal"):
        return None
    target = Path(name.removeprefix("/") if scheme == "sqlite" else name).absolute()
    kind = _file_system(target)
    if not kind.startswith(NETWORK):
        return None
    return (
        f"the study would be a file on {kind}, which concurrent writers may damage; "
        "--storage postgresql://… is safe, and --rebuild repairs a damaged study"
    )


def _file_system(path: Path) -> str:
    """Kind of the file system of a path; empty if it is unknown."""
    kinds = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, mount, kind, *_ = line.split()
            kinds[Path(mount)] = kind
    return next((kinds[p] for p in (path, *path.parents) if p in kinds), "")


def _check_same(directory: SweepDirectory, plan: Plan) -> None:
    """Checks that trials of the directory would be the same under a plan."""
    before = directory.plan()
    wrong = [
        f"`{key}` was {then}, now {now}"
        for key, then, now in differences(before.first, plan.first)
    ]
    if before.file.space != plan.file.space:
        wrong.append("`space` has changed")
    if wrong:
        raise UsageError(
            f"the sweep was started with other settings: {'; '.join(wrong[:5])}",
            where=str(directory.path),
            help=f"give another --out; only {', '.join(MAY_DIFFER)} may change",
        )
