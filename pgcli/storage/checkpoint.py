"""Checkpoints: directories of safetensors files under a verified manifest.

Committed as write → sync → manifest → sync → rename → sync of the parent, so that at
every moment a checkpoint is there in full or not at all. Loading verifies size and
SHA-256 of every file before it is parsed, and runs no code.
"""

import contextlib
import errno
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from pgcli.errors import CheckpointError
from pgcli.storage import checkpoint_files, files, manifest
from pgcli.storage.manifest import DamagedError, FileEntry

Arrays = Mapping[str, np.ndarray]

PARTIAL = ".partial-"
REMOVING = ".removing-"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_COMMITTED = re.compile(r"[0-9]{1,19}")
_DTYPES = frozenset(
    {"bool", "float16", "float32", "float64"}
    | {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
)


@dataclass(frozen=True)
class Checkpoint:
    """What was loaded, all of it verified.

    Attributes:
      path: the checkpoint's directory.
      groups: arrays by group and name.
      meta: the facts stored beside them (JSON).
    """

    path: Path
    groups: dict[str, dict[str, np.ndarray]]
    meta: dict[str, Any]

    def require(self, groups: Collection[str]) -> None:
        """Returns if it has these groups.

        Raises:
          CheckpointError: it lacks one.
        """
        try:
            _check_groups(groups, self.groups)
        except CheckpointError as error:
            error.where = str(self.path)
            raise


def name_of(iteration: int) -> str:
    """The name of the checkpoint taken after `iteration`: its number in nine digits."""
    return f"{iteration:09d}"


def save(
    directory: Path, name: str, groups: Mapping[str, Arrays], meta: Mapping[str, Any]
) -> Path:
    """Commits `directory/name` and returns it once it would survive a power loss.

    A checkpoint of that name with the same content is left as it is; a damaged one is
    set aside as `*.damaged`. Only one process may save to a directory (the run's lock).

    Args:
      directory: where checkpoints are kept; made if it is not there.
      name: usually `name_of(iteration)`.
      groups: arrays by group and name; one file per group.
      meta: facts that JSON has a form for, finite numbers only.

    Raises:
      OSError: nothing was committed, older checkpoints stand, no partial data is left.
        FileExistsError where a checkpoint of that name has other content.
      TypeError, ValueError: `groups`, `meta` or `name` cannot be stored.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a checkpoint")
    contents = {
        manifest.file_name(group): _encode(group, groups[group]) for group in groups
    }
    entries = {f: FileEntry(len(d), manifest.sha256(d)) for f, d in contents.items()}
    contents[manifest.NAME] = manifest.encode(entries, meta)  # written last

    files.ensure_directory(directory)
    path, partial = directory / name, directory / (PARTIAL + name)
    if os.path.lexists(path) and _settle(path, contents[manifest.NAME]):
        files.sync_directory(directory)
        return path
    try:
        if os.path.lexists(partial):
            files.remove_tree(partial)
        files.make_directory(partial)
        for file, data in contents.items():
            files.write_bytes(partial / file, data)
        files.sync_directory(partial)
        files.rename(partial, path)
    except OSError:
        with contextlib.suppress(OSError):
            files.remove_tree(partial)
        raise
    files.sync_directory(directory)
    return path


def load(path: Path, groups: Collection[str] | None = None) -> Checkpoint:
    """Verifies and returns a checkpoint.

    Args:
      path: the checkpoint's directory.
      groups: the groups to read; None for all.

    Raises:
      DamagedError: a file is not what was written.
      CheckpointError: there is none, it cannot be read, lacks a group, or is of a
        newer format.
    """
    with checkpoint_files.opened(path) as directory:
        held = manifest.decode(checkpoint_files.read_manifest(directory))
        names = {name.removesuffix(manifest.SUFFIX): name for name in held.files}
        wanted = names if groups is None else groups
        _check_groups(wanted, names)
        arrays = {
            g: _decode(names[g], checkpoint_files.read(directory, names[g], held))
            for g in wanted
        }
    return Checkpoint(path, arrays, held.meta)


def _check_groups(wanted: Collection[str], present: Collection[str]) -> None:
    missing = sorted(set(wanted) - set(present))
    if missing:
        raise CheckpointError(
            f"the checkpoint has no {', '.join(missing)}; "
            f"it has {', '.join(sorted(present)) or 'nothing'}"
        )


def verify(path: Path) -> None:
    """Returns if every file of a checkpoint is what was written.

    Raises:
      CheckpointError: as `load`.
    """
    load(path)


def digest(path: Path) -> str:
    """SHA-256 over all arrays of a checkpoint: equal where every byte of them is.

    Raises:
      CheckpointError: as `load`.
    """
    verify(path)
    with checkpoint_files.opened(path) as directory:
        held = manifest.decode(checkpoint_files.read_manifest(directory))
    lines = (f"{name} {entry.sha256}\n" for name, entry in sorted(held.files.items()))
    return manifest.sha256("".join(lines).encode("ascii"))


def committed(directory: Path) -> list[Path]:
    """The checkpoints of a run that are named by an iteration, oldest first."""
    try:
        entries = list(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [p for p in entries if _COMMITTED.fullmatch(p.name)]
    return sorted(found, key=lambda path: (int(path.name), path.name))


def is_empty(directory: Path) -> bool:
    """Whether nothing was ever committed, nor set aside: leftovers of kills at most."""
    if not directory.is_dir():
        return True
    return all(p.name.startswith((PARTIAL, REMOVING)) for p in directory.iterdir())


def newest_verified(directory: Path) -> tuple[Checkpoint, list[Path]]:
    """The newest checkpoint that verifies, loaded; damaged newer ones are set aside.

    Returns:
      The checkpoint, and the damaged ones under their new names `*.damaged`.

    Raises:
      CheckpointError: none is left; or one cannot be read for a reason that is no
        damage (permissions, a newer format).
    """
    damaged: list[Path] = []
    for path in reversed(committed(directory)):
        try:
            return load(path), damaged
        except DamagedError:
            try:
                damaged.append(_set_aside(path))
            except OSError:  # a read-only disk: reported under its own name
                damaged.append(path)
    if damaged:
        names = ", ".join(path.name for path in damaged)
        message = f"no checkpoint is left that verifies; set aside: {names}"
    else:
        message = "there is no checkpoint yet"
    raise CheckpointError(message, where=str(directory), help="start a new run")


def _encode(group: str, arrays: Arrays) -> bytes:
    prepared = {}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray | np.generic):
            raise TypeError(f"{group}.{name} is a {type(array).__name__}, not an array")
        if array.dtype.name not in _DTYPES:
            raise TypeError(f"{group}.{name} is of dtype {array.dtype}")
        # The format takes memory as it lies: contiguous and little-endian.
        little = array.dtype.newbyteorder("<")
        prepared[name] = np.array(array, dtype=little, order="C")
    if "__metadata__" in prepared:
        raise ValueError(f"{group}.__metadata__ is a reserved name")
    data = safetensors.numpy.save(prepared)
    if len(data) > manifest.MAX_FILE_BYTES:
        raise ValueError(
            f"{group} has {len(data)} bytes; {manifest.MAX_FILE_BYTES} fit"
        )
    return data


def _decode(name: str, data: bytes) -> dict[str, np.ndarray]:
    try:
        return dict(safetensors.numpy.load(data))
    except (
        safetensors.SafetensorError,
        KeyError,
        OverflowError,
        TypeError,
        ValueError,
    ) as error:
        kind = manifest.foreign(data[:64])
        reason = f"is {kind}" if kind else f"does not parse ({error})"
        raise DamagedError(f"{name} {reason}; expected safetensors") from None


def _settle(path: Path, wanted: bytes) -> bool:
    """Whether `path` holds the wanted checkpoint already; sets it aside if damaged."""
    try:
        verify(path)
    except DamagedError:
        _set_aside(path)
        return False
    except CheckpointError as error:
        raise FileExistsError(errno.EEXIST, error.message, str(path)) from None
    if (path / manifest.NAME).read_bytes() == wanted:
        return True
    raise FileExistsError(errno.EEXIST, "a checkpoint with other content", str(path))


def _set_aside(path: Path) -> Path:
    target = path.with_name(f"{path.name}.damaged")
    count = 1
    while os.path.lexists(target):
        count += 1
        target = path.with_name(f"{path.name}.damaged{count}")
    files.rename(path, target)
    files.sync_directory(path.parent)
    return target
