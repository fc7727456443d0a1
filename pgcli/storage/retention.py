"""Which checkpoints of a run stay: the newest verified ones, and what they refer to."""

import contextlib
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from pgcli.errors import CheckpointError
from pgcli.storage import checkpoint, files

Refers = Callable[[Mapping[str, Any]], Collection[str]]
FileStates = tuple[tuple[str, int, int, int], ...]


def refers_to_nothing(meta: Mapping[str, Any]) -> Collection[str]:
    """No checkpoint refers to another."""
    return ()


class Retention:
    """Removes old checkpoints, and leftovers of kills.

    What this process has written or verified is remembered, so that no checkpoint is
    read back twice. One whose files have changed since then is verified again.
    """

    def __init__(
        self, directory: Path, keep: int, refers: Refers = refers_to_nothing
    ) -> None:
        """Nothing is removed yet.

        Args:
          directory: where checkpoints are kept.
          keep: how many verified checkpoints to keep, at least 2.
          refers: names that a kept checkpoint's metadata refers to. These stay too: a
            resume may need them if newer checkpoints are damaged.
        """
        if keep < 2:
            raise ValueError(f"keep is {keep}; the two newest checkpoints always stay")
        self._directory = directory
        self._keep = keep
        self._refers = refers
        self._known: dict[str, tuple[FileStates, Collection[str]]] = {}

    def remember(self, path: Path, meta: Mapping[str, Any]) -> None:
        """Records a checkpoint that was just written or verified."""
        with contextlib.suppress(OSError):  # it is verified when that matters
            self._known[path.name] = (_file_states(path), self._refers(meta))

    def verify(self, name: str) -> Collection[str]:
        """The names that a checkpoint refers to, all of it verified by this process.

        Raises:
          CheckpointError: as `checkpoint.load`.
        """
        path = self._directory / name
        states, refers = self._known.get(name, (None, ()))
        with contextlib.suppress(OSError):
            if states is not None and states == _file_states(path):
                return refers
        meta = checkpoint.load(path).meta
        self.remember(path, meta)
        return self._refers(meta)

    def prune(self, protected: Collection[str] = ()) -> None:
        """Removes all but the newest `keep` verified checkpoints.

        Everything newer than those stays, damaged or not: nothing newer is judged here.

        Args:
          protected: names that stay however old (the best one).

        Raises:
          OSError: something could not be removed; the newest `keep` stand in any case.
        """
        self._remove_leftovers()
        staying = set(protected)
        verified = 0
        removing = False
        for path in reversed(checkpoint.committed(self._directory)):
            if verified < self._keep:
                with contextlib.suppress(CheckpointError):
                    staying |= set(self.verify(path.name))
                    verified += 1
            elif path.name not in staying:
                # Renamed first: there is never half a checkpoint under its own name.
                files.rename(path, path.with_name(checkpoint.REMOVING + path.name))
                self._known.pop(path.name, None)
                removing = True
        if removing:
            files.sync_directory(self._directory)
            self._remove_leftovers()

    def _remove_leftovers(self) -> None:
        """Removes what killed saves and prunes left."""
        directory = self._directory
        entries = sorted(directory.iterdir()) if directory.is_dir() else []
        for entry in entries:
            if entry.name.startswith((checkpoint.PARTIAL, checkpoint.REMOVING)):
                files.remove_tree(entry)


def _file_states(path: Path) -> FileStates:
    """(name, inode, size, time of change) of the files: different after any write."""
    with os.scandir(path) as entries:
        found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    return tuple(
        sorted((name, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in found)
    )
