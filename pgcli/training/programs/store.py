"""Files of compiled programs, in the cache directory.

A file that is damaged is only a slower start.
"""

import contextlib
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from pgcli.cache import cache_directory
from pgcli.storage.files import replace_bytes

MAX_FILES = 512
"""Number of programs that are kept, of 10 to 400 KB each."""

DIGEST = hashlib.sha256().digest_size


class Stored(NamedTuple):
    """A program in a file."""

    described: Any
    """Its arguments and results, as JSON."""
    executable: bytes


def directory() -> Path | None:
    """Directory of the programs; None if it cannot be used."""
    cache = cache_directory()
    if cache is None:
        return None
    try:
        (cache / "programs").mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return cache / "programs"


def read(path: Path) -> Stored | None:
    """The program of a file; None if it is missing or damaged."""
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    # the digest, a line of JSON, the compressed program
    digest, content = stored[:DIGEST], stored[DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        return None
    described, _, data = content.partition(b"\n")
    return Stored(json.loads(described), zlib.decompress(data))


def write(path: Path, described: Any, executable: bytes) -> None:
    """Keeps a program behind its digest, and removes the oldest of too many.

    Args:
      path: the file.
      described: its arguments and results, as JSON.
      executable: the program.
    """
    content = json.dumps(described).encode() + b"\n" + zlib.compress(executable, 1)
    with contextlib.suppress(OSError):
        replace_bytes(path, hashlib.sha256(content).digest() + content)
        files = sorted(path.parent.iterdir(), key=lambda file: file.stat().st_mtime)
        for file in files[:-MAX_FILES]:
            file.unlink(missing_ok=True)
