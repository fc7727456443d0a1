"""Removal of old checkpoints, except the newest verified ones and their references."""

import contextlib
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from pgcli.errors import CheckpointError
from pgcli.storage import checkpoint, files

Refers = Callable[[Mapping[str, Any]], Collection[str]]
FileStates = tuple[tuple[str, int, int, int], ...]


class Retention:
    """A policy that removes old checkpoints, and remains of killed processes.

    Checkpoints that this process has written or verified are verified again only if
    their files have changed.
    """

    def __init__(self, directory: Path, keep: int, refers: Refers) -> None:
        """Keeps the newest `keep` (at least 2) verified checkpoints of a directory.

        `refers` returns the names that a checkpoint refers to, from its metadata. These
        are kept too: a resume may need them if newer checkpoints are damaged.
        """
        if keep < 2:
            raise ValueError(f"keep is {keep}; the two newest checkpoints always stay")
        self._directory = directory
        self._keep = keep
        self._refers = refers
        self._known: dict[str, tuple[FileStates, Collection[str]]] = {}

    def remember(self, path: Path, meta: Mapping[str, Any]) -> None:
        """Records a checkpoint that was just written or verified."""
        with contextlib.suppress(OSError):  # otherwise it is verified when needed
            self._known[path.name] = (_file_states(path), self._refers(meta))

    def verify(self, name: str) -> Collection[str]:
        """The names that a checkpoint refers to, after it was verified as by `load`."""
        # unchanged since this process wrote or verified it
        path = self._directory / name
        states, refers = self._known.get(name, (None, ()))
        with contextlib.suppress(OSError):
            if states is not None and states == _file_states(path):
                return refers

        # otherwise load it
        meta = checkpoint.load(path).meta
        self.remember(path, meta)
        return self._refers(meta)

    def prune(self, protected: Collection[str] = ()) -> None:
        """Removes all but the newest `keep` verified checkpoints and protected ones.

        Newer checkpoints are kept even if they are damaged. If something could not be
        removed, which raises an OSError, the newest `keep` are unchanged.
        """
        # from the newest to the oldest: verify `keep`, then remove
        self._remove_leftovers()
        kept = set(protected)
        verified = 0
        removing = False
        for path in reversed(checkpoint.committed(self._directory)):
            if verified < self._keep:
                with contextlib.suppress(CheckpointError):
                    kept |= set(self.verify(path.name))
                    verified += 1
            elif path.name not in kept:
                # renamed first, so that a partial checkpoint never has a valid name
                files.rename(path, path.with_name(checkpoint.REMOVING + path.name))
                self._known.pop(path.name, None)
                removing = True
        if removing:
            files.sync_directory(self._directory)
            self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        """Removes the remains of killed saves and removals."""
        directory = self._directory
        entries = sorted(directory.iterdir()) if directory.is_dir() else []
        for entry in entries:
            if entry.name.startswith((checkpoint.PARTIAL, checkpoint.REMOVING)):
                files.remove_tree(entry)


def _file_states(path: Path) -> FileStates:
    """(name, inode, size, time of change) of the files; every write changes them."""
    with os.scandir(path) as entries:
        stats = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    return tuple(
        sorted((name, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in stats)
    )
