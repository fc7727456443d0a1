"""Small JSON files and tails of logs, read defensively and written atomically."""

import contextlib
import json
import math
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgcli.errors import CheckpointError
from pgcli.storage import files

MAX_JSON_BYTES = 64 * 2**20
TAIL_BYTES = 2**20


def jsonable(value: Any) -> Any:
    """`value` in JSON types: arrays become lists, non-finite numbers become None."""
    if hasattr(value, "tolist"):  # a NumPy or JAX array
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value


def write_object(path: Path, tree: Mapping[str, Any]) -> None:
    """Replaces a file by `tree` as JSON; its content remains after an OSError."""
    data = json.dumps(tree, allow_nan=False, indent=1, ensure_ascii=False)
    files.replace_bytes(path, data.encode() + b"\n")


def read_object(path: Path) -> dict[str, Any] | None:
    """The mapping in a JSON file, or None if the file does not exist.

    Raises a CheckpointError if it is damaged, or cannot be read.
    """
    # one byte more than allowed, to detect files that are too large
    where = str(path.parent)
    try:
        data = _read(path, 0, MAX_JSON_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        message = f"{path.name} cannot be read: {error.strerror}"
        raise CheckpointError(message, where=where) from None

    # anything but an object is damage
    try:
        tree = json.loads(data.decode()) if len(data) <= MAX_JSON_BYTES else None
    except (ValueError, RecursionError):
        tree = None
    if not isinstance(tree, dict):
        message = f"{path.name} is damaged: it contains no JSON object"
        raise CheckpointError(message, where=where)
    return tree


def last_row(path: Path) -> dict[str, Any]:
    """The last complete row of a log, or an empty mapping."""
    return (last_rows(path) or [{}])[-1]


def last_rows(path: Path) -> list[dict[str, Any]]:
    """The complete rows of the newest iteration in a log, one per member of the run."""
    rows: list[dict[str, Any]] = []
    with contextlib.suppress(OSError, ValueError, RecursionError):
        # after the last newline is nothing, or an incomplete row
        for line in _read(path, -TAIL_BYTES, TAIL_BYTES).split(b"\n")[-2::-1]:
            row = json.loads(line)
            if not isinstance(row, dict) or (
                rows and row.get("iteration") != rows[0].get("iteration")
            ):
                break
            rows.insert(0, row)
    return rows


def _read(path: Path, start: int, count: int) -> bytes:
    """At most `count` bytes of a regular file; a negative `start` is from the end."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(None, "it is not a regular file")
        first = start if start >= 0 else max(0, status.st_size + start)
        return os.pread(descriptor, min(count, status.st_size - first), first)
    finally:
        os.close(descriptor)
