"""All changes to the disk, in one module so that tests can make each of them fail.

A function of this module consists of a few system calls (open, write, sync, rename, …).
Tests replace `os` in this module, to observe each of them, make it fail or stop the
process after it.
"""

import contextlib
import os
from pathlib import Path


def _open(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:  # a short write is not an error: the next write raises it
        view = view[os.write(descriptor, view) :]


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a new file and syncs it; the caller must sync the directory entry.

    Raises a FileExistsError if it exists; after other errors it may be incomplete.
    """
    # O_EXCL: an existing file is never overwritten
    descriptor = _open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        _write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_bytes(path: Path, data: bytes) -> None:
    """Replaces a file atomically: it has the old content or the new, never a part.

    After an OSError it has the old one (or the new, if the last sync failed).
    """
    # write and sync under a temporary name, then rename
    partial = path.with_name(f".{path.name}.partial")
    try:
        if os.path.lexists(partial):
            remove(partial)
        write_bytes(partial, data)
        rename(partial, path)
    except OSError:
        with contextlib.suppress(OSError):
            remove(partial)
        raise
    sync_directory(path.parent)


def rename(path: Path, target: Path) -> None:
    """Renames a file or directory, replacing a file; durable after a sync."""
    os.rename(path, target)


def make_directory(path: Path) -> None:
    """Makes a new directory; a FileExistsError if the path exists."""
    os.mkdir(path)


def ensure_directory(path: Path) -> None:
    """Makes a directory and its missing parents, and syncs their entries."""
    if path.is_dir():
        return
    ensure_directory(path.parent)
    try:
        make_directory(path)
    except FileExistsError:
        if not path.is_dir():  # otherwise another process was faster
            raise
    sync_directory(path.parent)


def remove(path: Path) -> None:
    """Removes a file or a symbolic link."""
    os.unlink(path)


def remove_tree(path: Path) -> None:
    """Removes a directory with its contents; links are removed, not followed."""
    if path.is_symlink() or not path.is_dir():
        remove(path)
        return
    # sorted, so that tests can count the operations
    for child in sorted(path.iterdir()):
        remove_tree(child)
    os.rmdir(path)


def sync_directory(path: Path) -> None:
    """Makes changes to the entries of a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class OpenFile:
    """An open file: a growing log, or a lock that contains its owner."""

    def __init__(self, path: Path) -> None:
        """Opens `path` for reading and appending; creates it if it does not exist."""
        self.path = path
        self.descriptor = _open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return os.fstat(self.descriptor).st_size

    def read(self, start: int, count: int) -> bytes:
        """At most `count` bytes from `start` on."""
        return os.pread(self.descriptor, count, start)

    def append(self, data: bytes) -> None:
        """Writes at the end; after an error, a part may have been written."""
        _write(self.descriptor, data)

    def truncate(self, size: int) -> None:
        """Cuts the file to its first `size` bytes."""
        os.ftruncate(self.descriptor, size)

    def sync(self) -> None:
        """Makes the written data durable."""
        os.fsync(self.descriptor)

    def close(self) -> None:
        """Closes the file, which releases a lock on it."""
        os.close(self.descriptor)
