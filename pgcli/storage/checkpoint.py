"""Checkpoints: directories of safetensors files under a verified manifest.

A checkpoint is committed as write → sync → manifest → sync → rename → sync of the
parent, so that at every moment it exists completely or not at all. Loading verifies
size and SHA-256 of every file before it is parsed, and executes no code.
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
    """The verified content of a checkpoint: arrays by group and name, and metadata."""

    path: Path
    groups: dict[str, dict[str, np.ndarray]]
    meta: dict[str, Any]

    def require(self, groups: Collection[str]) -> None:
        """Raises a CheckpointError if one of the groups was not loaded."""
        try:
            _check_groups(groups, self.groups)
        except CheckpointError as error:
            error.where = str(self.path)
            raise


def name_of(iteration: int) -> str:
    """Name of the checkpoint after `iteration`: its number in nine digits."""
    return f"{iteration:09d}"


def save(
    directory: Path, name: str, groups: Mapping[str, Arrays], meta: Mapping[str, Any]
) -> Path:
    """Path of a committed checkpoint, which from then on survives a power loss.

    An existing checkpoint with the same name and content is unchanged; a damaged one is
    renamed to `*.damaged`. Only one process, the owner of the lock, may save to a
    directory.

    Args:
      directory: directory of checkpoints; created if it does not exist.
      name: name of the checkpoint, usually `name_of(iteration)`.
      groups: arrays by group and name; one file per group.
      meta: metadata of JSON types; numbers must be finite.

    Raises:
      OSError: nothing was committed, and partial data were removed. FileExistsError if
        a checkpoint of that name has other content.
      TypeError, ValueError: `groups`, `meta` or `name` cannot be stored.
    """
    # the bytes of all files
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a checkpoint")
    contents = {
        manifest.file_name(group): _encode(group, groups[group]) for group in groups
    }
    entries = {f: FileEntry(len(d), manifest.sha256(d)) for f, d in contents.items()}
    contents[manifest.NAME] = manifest.encode(entries, meta)  # written last

    # an earlier checkpoint of that name
    files.ensure_directory(directory)
    path, partial = directory / name, directory / (PARTIAL + name)
    if os.path.lexists(path) and _settle(path, contents[manifest.NAME]):
        files.sync_directory(directory)
        return path

    # write and sync under a temporary name, then rename
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
    """The content of a checkpoint, of some groups or all, verified by its manifest.

    Raises:
      DamagedError: a file differs from what was written.
      CheckpointError: the checkpoint does not exist, cannot be read, lacks a group, or
        has a newer format.
    """
    with checkpoint_files.opened(path) as directory:
        # the manifest, and the names of files by group
        stored = manifest.decode(checkpoint_files.read_manifest(directory))
        names = {name.removesuffix(manifest.SUFFIX): name for name in stored.files}
        wanted = names if groups is None else groups
        _check_groups(wanted, names)

        # the arrays
        arrays = {
            g: _decode(names[g], checkpoint_files.read(directory, names[g], stored))
            for g in wanted
        }
    return Checkpoint(path, arrays, stored.meta)


def _check_groups(wanted: Collection[str], present: Collection[str]) -> None:
    missing = sorted(set(wanted) - set(present))
    if missing:
        raise CheckpointError(
            f"the checkpoint has no {', '.join(missing)}; "
            f"it has {', '.join(sorted(present)) or 'nothing'}"
        )


def committed(directory: Path) -> list[Path]:
    """Checkpoints of a run with the number of an iteration as name, oldest first."""
    try:
        entries = list(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    checkpoints = [p for p in entries if _COMMITTED.fullmatch(p.name)]
    return sorted(checkpoints, key=lambda path: (int(path.name), path.name))


def is_empty(directory: Path) -> bool:
    """Whether no checkpoint was committed; remains of killed saves do not count."""
    if not directory.is_dir():
        return True
    return all(p.name.startswith((PARTIAL, REMOVING)) for p in directory.iterdir())


def newest_verified(directory: Path) -> tuple[Checkpoint, list[Path]]:
    """The content of the newest checkpoint that verifies.

    Newer checkpoints that are damaged are renamed to `*.damaged`.

    Returns:
      (checkpoint, new paths of the damaged ones).

    Raises:
      CheckpointError: none verifies, or one cannot be read for a reason other than
        damage (permissions, a newer format).
    """
    # from the newest to the oldest
    damaged: list[Path] = []
    for path in reversed(committed(directory)):
        try:
            return load(path), damaged
        except DamagedError:
            try:
                damaged.append(_set_aside(path))
            except OSError:  # a read-only disk: it keeps its name
                damaged.append(path)

    # none verifies
    if damaged:
        names = ", ".join(path.name for path in damaged)
        message = f"no checkpoint is left that verifies; set aside: {names}"
    else:
        message = "there is no checkpoint yet"
    raise CheckpointError(message, where=str(directory), help="start a new run")


def _encode(group: str, arrays: Arrays) -> bytes:
    """The safetensors file of a group of arrays."""
    prepared = {}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray | np.generic):
            raise TypeError(f"{group}.{name} is a {type(array).__name__}, not an array")
        if array.dtype.name not in _DTYPES:
            raise TypeError(f"{group}.{name} is of dtype {array.dtype}")
        # the format stores the memory of the array: contiguous and little-endian
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
    """The arrays of a safetensors file."""
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
    """Whether the wanted checkpoint exists; a damaged one is renamed."""
    try:
        load(path)
    except DamagedError:
        _set_aside(path)
        return False
    except CheckpointError as error:
        raise FileExistsError(errno.EEXIST, error.message, str(path)) from None
    if (path / manifest.NAME).read_bytes() == wanted:
        return True
    raise FileExistsError(errno.EEXIST, "a checkpoint with other content", str(path))


def _set_aside(path: Path) -> Path:
    """Renames a damaged checkpoint to the first free `*.damaged` name."""
    target = path.with_name(f"{path.name}.damaged")
    count = 1
    while os.path.lexists(target):
        count += 1
        target = path.with_name(f"{path.name}.damaged{count}")
    files.rename(path, target)
    files.sync_directory(path.parent)
    return target
