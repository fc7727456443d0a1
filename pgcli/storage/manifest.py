"""The manifest of a checkpoint: sizes and hashes of its files, and metadata.

`manifest.json` is canonical: its bytes are the result of `encode` for its content, and
it contains a SHA-256 of itself without that entry. So a single flipped bit is detected.
All formats, including future ones, keep the keys `format` and `sha256` with their
meaning, so that a newer checkpoint can be distinguished from a damaged one.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pgcli.errors import CheckpointError

FORMAT = 1
NAME = "manifest.json"
SUFFIX = ".safetensors"
MAX_MANIFEST_BYTES = 16 * 2**20
MAX_FILE_BYTES = 8 * 2**30

_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}\.safetensors")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FOREIGN = {
    b"version https://git-lfs": "a Git LFS pointer",
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"\x93NUMPY": "a NumPy file",
    b"\x89HDF": "an HDF5 file",
}


class DamagedError(CheckpointError):
    """The stored data differ from the written ones; an older checkpoint may be used."""


@dataclass(frozen=True)
class FileEntry:
    """Size in bytes and hash, in hexadecimal, of a file of the checkpoint."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """Files by name, and metadata."""

    files: Mapping[str, FileEntry]
    meta: dict[str, Any]


def foreign(head: bytes) -> str | None:
    """Kind of a foreign file, recognised by its first bytes, or None."""
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and head[2:3] != b"\0":
        return "a pickle"
    kinds = (kind for magic, kind in _FOREIGN.items() if head.startswith(magic))
    return next(kinds, None)


def sha256(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def plain(value: Any, key: str = "meta") -> Any:
    """`value` as JSON types: mappings, lists, strings, finite numbers, None.

    Raises a TypeError for other types, and a ValueError for infinity and NaN.
    """
    # scalars
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{key} is {value}; numbers in a manifest must be finite")
        return value

    # mappings and lists
    if isinstance(value, Mapping):
        wrong = next((name for name in value if not isinstance(name, str)), None)
        if wrong is not None:
            raise TypeError(f"{key} has the key {wrong!r}, which is not a string")
        return {name: plain(item, f"{key}.{name}") for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{key}[{index}]") for index, item in enumerate(value)]
    raise TypeError(f"{key} is a {type(value).__name__}, which is not a JSON type")


def _dump(tree: Mapping[str, Any]) -> bytes:
    return json.dumps(tree, allow_nan=False, indent=1).encode("ascii") + b"\n"


def encode(files: Mapping[str, FileEntry], meta: Mapping[str, Any]) -> bytes:
    """The bytes of `manifest.json`; a TypeError or ValueError for other metadata."""
    entries = {name: {"size": e.size, "sha256": e.sha256} for name, e in files.items()}
    body = {"format": FORMAT, "files": entries, "meta": plain(meta)}
    data = _dump({**body, "sha256": sha256(_dump(body))})
    if len(data) > MAX_MANIFEST_BYTES:
        raise ValueError(f"the manifest has {len(data)} bytes: put arrays in a group")
    return data


def decode(data: bytes) -> Manifest:
    """The manifest, with its hash, its form and all its names verified.

    Raises:
      DamagedError: the bytes are not a result of `encode`.
      CheckpointError: the format is newer.
    """
    # the format, before keys that may differ between formats
    tree = _parse(data)
    version = tree.get("format")
    if type(version) is not int or version < 1:
        raise DamagedError(f"{NAME} has no format number (found {version!r})")
    if version > FORMAT:
        raise CheckpointError(
            f"checkpoint format {version} is newer than this pgcli, which reads "
            f"up to format {FORMAT}",
            help="update pgcli",
        )

    # the content of this format
    if set(tree) != {"format", "files", "meta", "sha256"}:
        raise DamagedError(f"{NAME} has the wrong keys: {', '.join(sorted(tree))}")
    files, meta = tree["files"], tree["meta"]
    if not isinstance(files, dict) or not isinstance(meta, dict):
        raise DamagedError(f"{NAME}: files and meta must be mappings")
    return Manifest({name: _entry(name, entry) for name, entry in files.items()}, meta)


def _parse(data: bytes) -> dict[str, Any]:
    """The JSON object in canonical form, verified by its own SHA-256."""
    # canonical JSON
    kind = foreign(data)
    if kind is not None:
        raise DamagedError(f"{NAME} is {kind}")
    try:
        tree = json.loads(data.decode("ascii"))
        canonical = isinstance(tree, dict) and _dump(tree) == data
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{NAME} is not JSON ({error})") from None
    if not canonical:
        raise DamagedError(f"{NAME} is not in the form that pgcli writes")

    # the hash of everything else
    stored = tree.get("sha256")
    actual = sha256(_dump({name: tree[name] for name in tree if name != "sha256"}))
    if stored != actual:
        raise DamagedError(f"{NAME} has SHA-256 {actual}; its own entry is {stored!r}")
    return dict(tree)


def _entry(name: str, entry: Any) -> FileEntry:
    """A verified entry of the list of files."""
    if not _FILE.fullmatch(name):
        raise DamagedError(f"{NAME} lists {name!r}, which is not a checkpoint file")
    if not isinstance(entry, dict) or set(entry) != {"size", "sha256"}:
        raise DamagedError(f"{NAME}: {name} must have a size and a sha256")
    size, digest = entry["size"], entry["sha256"]
    if type(size) is not int or not 0 <= size <= MAX_FILE_BYTES:
        raise DamagedError(
            f"{NAME}: {name} has {size!r} bytes; the limit is {MAX_FILE_BYTES}"
        )
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise DamagedError(f"{NAME} has no SHA-256 of {name} (found {digest!r})")
    return FileEntry(size, digest)


def file_name(group: str) -> str:
    """File name of a group of arrays; a ValueError if the name has other characters."""
    name = group + SUFFIX
    if not _FILE.fullmatch(name):
        raise ValueError(f"{group!r} cannot name a group: use letters, digits, _ and -")
    return name
