"""All changes to the disk, in one module so that tests can make each of them fail.

A function of this module consists of a few operations (open, write, sync, rename, ...).
Each goes through `_perform`, where `intercept` can observe it, make it fail or stop the
process after it.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar

T = TypeVar("T")

Kind = Literal[
    "open",
    "write",
    "truncate",
    "sync",
    "rename",
    "mkdir",
    "unlink",
    "rmdir",
    "sync_directory",
]


@dataclass(frozen=True)
class Operation:
    """One system call that changes the disk, or makes a change durable.

    Attributes:
      kind: kind of the operation.
      path: file or directory that it changes.
      target: new path of a rename.
      data: bytes of a write.
      size: new size of a truncation.
    """

    kind: Kind
    path: Path
    target: Path | None = None
    data: bytes = b""
    size: int = 0


class Interceptor(Protocol):
    """A replacement for operations; it calls `perform` to execute one."""

    def __call__(self, operation: Operation, perform: Callable[[], T]) -> T:
        """Returns the result of `perform`, or raises instead."""
        ...


_interceptor: Interceptor | None = None


@contextlib.contextmanager
def intercept(interceptor: Interceptor) -> Iterator[None]:
    """Passes every operation inside the block to `interceptor`; for tests."""
    global _interceptor
    before = _interceptor
    _interceptor = interceptor
    try:
        yield
    finally:
        _interceptor = before


def _perform(operation: Operation, call: Callable[[], T]) -> T:
    """The result of an operation, passed through the interceptor if there is one."""
    return call() if _interceptor is None else _interceptor(operation, call)


def _open(path: Path, flags: int) -> int:
    flags |= os.O_CLOEXEC | os.O_NOFOLLOW
    return _perform(Operation("open", path), lambda: os.open(path, flags, 0o666))


def _write(descriptor: int, path: Path, data: bytes) -> None:
    def write() -> None:
        view = memoryview(data)
        while view:  # a short write is not an error: the next write raises it
            view = view[os.write(descriptor, view) :]

    _perform(Operation("write", path, data=data), write)


def _truncate(descriptor: int, path: Path, size: int) -> None:
    operation = Operation("truncate", path, size=size)
    _perform(operation, lambda: os.ftruncate(descriptor, size))


def _sync(descriptor: int, path: Path) -> None:
    _perform(Operation("sync", path), lambda: os.fsync(descriptor))


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a new file and syncs it; the caller must sync the directory entry.

    Raises:
      FileExistsError: the file exists.
      OSError: nothing or only a part was written.
    """
    # O_EXCL: an existing file is never overwritten
    descriptor = _open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        _write(descriptor, path, data)
        _sync(descriptor, path)
    finally:
        os.close(descriptor)


def replace_bytes(path: Path, data: bytes) -> None:
    """Replaces a file atomically: it has the old content or the new, never a part.

    Raises:
      OSError: the old content remains (or the new, if the last sync failed).
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
    operation = Operation("rename", path, target=target)
    _perform(operation, lambda: os.rename(path, target))


def make_directory(path: Path) -> None:
    """Makes a new directory, exclusively.

    Raises:
      FileExistsError: the path exists.
    """
    _perform(Operation("mkdir", path), lambda: os.mkdir(path))


def ensure_directory(path: Path) -> None:
    """Makes a directory and its missing parents, and syncs their entries.

    Raises:
      FileExistsError: the path exists and is not a directory.
    """
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
    _perform(Operation("unlink", path), lambda: os.unlink(path))


def remove_tree(path: Path) -> None:
    """Removes a directory with its contents; links are removed, not followed."""
    if path.is_symlink() or not path.is_dir():
        remove(path)
        return
    # sorted, so that tests can count the operations
    for child in sorted(path.iterdir()):
        remove_tree(child)
    _perform(Operation("rmdir", path), lambda: os.rmdir(path))


def sync_directory(path: Path) -> None:
    """Makes changes to the entries of a directory durable."""

    def sync() -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    _perform(Operation("sync_directory", path), sync)


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
        _write(self.descriptor, self.path, data)

    def truncate(self, size: int) -> None:
        """Cuts the file to its first `size` bytes."""
        _truncate(self.descriptor, self.path, size)

    def sync(self) -> None:
        """Makes the written data durable."""
        _sync(self.descriptor, self.path)

    def close(self) -> None:
        """Closes the file, which releases a lock on it."""
        os.close(self.descriptor)
