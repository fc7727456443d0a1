"""Interceptors of file operations: they fail, kill, and play power loss."""

import contextlib
import errno
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pgcli.storage import files

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
Interceptor = Callable[["Operation", Callable[[], Any]], Any]


@dataclass(frozen=True)
class Operation:
    """One system call of `files` that changes the disk, or makes a change durable."""

    kind: Kind
    path: Path
    target: Path | None = None  # of a rename
    data: bytes = b""  # of a write
    size: int = 0  # of a truncation


class _Os:
    """`os` as `files` sees it: operations pass through the interceptor."""

    def __init__(self) -> None:
        self.interceptor: Interceptor = lambda operation, perform: perform()
        self.paths: dict[int, Path] = {}  # of open files
        self.directories: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECTORY:  # only to sync it: no change
            descriptor = os.open(path, flags, mode)
            self.directories.add(descriptor)
        else:
            operation = Operation("open", path)
            descriptor = self.interceptor(operation, lambda: os.open(path, flags, mode))
            self.directories.discard(descriptor)
        self.paths[descriptor] = path
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> Any:
        operation = Operation("write", self.paths[descriptor], data=bytes(data))
        return self.interceptor(operation, lambda: os.write(descriptor, data))

    def ftruncate(self, descriptor: int, size: int) -> None:
        operation = Operation("truncate", self.paths[descriptor], size=size)
        self.interceptor(operation, lambda: os.ftruncate(descriptor, size))

    def fsync(self, descriptor: int) -> None:
        kind: Kind = "sync_directory" if descriptor in self.directories else "sync"
        operation = Operation(kind, self.paths[descriptor])
        self.interceptor(operation, lambda: os.fsync(descriptor))

    def rename(self, path: Path, target: Path) -> None:
        operation = Operation("rename", path, target=target)
        self.interceptor(operation, lambda: os.rename(path, target))

    def mkdir(self, path: Path) -> None:
        self.interceptor(Operation("mkdir", path), lambda: os.mkdir(path))

    def unlink(self, path: Path) -> None:
        self.interceptor(Operation("unlink", path), lambda: os.unlink(path))

    def rmdir(self, path: Path) -> None:
        self.interceptor(Operation("rmdir", path), lambda: os.rmdir(path))


# from the first import on, so that the paths of all open files are known
_OS = _Os()
files.os = _OS  # type: ignore[assignment]


@contextlib.contextmanager
def intercept(interceptor: Interceptor) -> Iterator[None]:
    """Passes every operation inside the block to `interceptor`."""
    before, _OS.interceptor = _OS.interceptor, interceptor
    try:
        yield
    finally:
        _OS.interceptor = before


class Killed(BaseException):
    """The process died here; nothing may catch it."""


@dataclass
class Counting:
    """Lets everything pass and counts it."""

    count: int = 0

    def __call__(self, operation: Operation, perform: Callable[[], Any]) -> Any:
        self.count += 1
        return perform()


@dataclass
class Failing:
    """Fails operation `at` (from 0), and all later ones if `lasting`."""

    at: int
    code: int
    lasting: bool
    count: int = 0

    def __call__(self, operation: Operation, perform: Callable[[], Any]) -> Any:
        number, self.count = self.count, self.count + 1
        if number == self.at or (self.lasting and number > self.at):
            if operation.kind == "write":  # a full disk takes the first half
                half = operation.data[: len(operation.data) // 2]
                with operation.path.open("ab") as stream:
                    stream.write(half)
            raise OSError(self.code, os.strerror(self.code), str(operation.path))
        return perform()


class FullFrom:
    """A disk that takes nothing from operation `start` to operation `end`."""

    def __init__(self, start: int, end: float = math.inf) -> None:
        self.start, self.end, self.count = start, end, 0

    def __call__(self, operation: Any, perform: Callable[[], Any]) -> Any:
        self.count += 1
        if self.start < self.count <= self.end and operation.kind in ("mkdir", "open"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return perform()


@dataclass
class Killing:
    """Ends the process after operation `at`, or in the middle of it."""

    at: int
    torn: bool
    count: int = 0

    def __call__(self, operation: Operation, perform: Callable[[], Any]) -> Any:
        number, self.count = self.count, self.count + 1
        if number < self.at:
            return perform()
        if number == self.at and self.torn and operation.kind == "write":
            with operation.path.open("ab") as stream:
                stream.write(operation.data[: len(operation.data) // 2])
        elif number == self.at:
            perform()
        raise Killed


@dataclass
class Recording:
    """Lets everything pass and keeps it."""

    operations: list[Operation] = field(default_factory=list)

    def __call__(self, operation: Operation, perform: Callable[[], Any]) -> Any:
        result = perform()
        self.operations.append(operation)
        return result


def count(action: Callable[[], object]) -> int:
    """How many operations an action takes."""
    counting = Counting()
    with intercept(counting):
        action()
    return counting.count


CODES = (errno.ENOSPC, errno.EIO, errno.EACCES)

Tree = dict[tuple[str, ...], bytes | None]  # path parts: content, or None (directory)


def snapshot(root: Path) -> Tree:
    """What is under `root`."""
    return {
        path.relative_to(root).parts: None if path.is_dir() else path.read_bytes()
        for path in sorted(root.rglob("*"))
    }


def restore(tree: Tree, root: Path) -> None:
    """Makes `root` hold `tree`; entries whose parent is missing are lost."""
    root.mkdir()
    for parts, content in sorted(tree.items()):
        path = root.joinpath(*parts)
        if not path.parent.is_dir():
            continue
        if content is None:
            path.mkdir()
        else:
            path.write_bytes(content)


@dataclass
class _Inode:
    """A file or a directory: what it holds now, and what the disk holds of it."""

    directory: bool
    data: bytes = b""
    durable: bytes = b""
    pending: bool = False
    entries: dict[str, "_Inode"] = field(default_factory=dict)
    durable_entries: dict[str, "_Inode"] = field(default_factory=dict)
    changes: list[dict[str, "_Inode | None"]] = field(default_factory=list)


class PowerLoss:
    """A disk model: replays operations, then yields the states that can remain.

    A file's content is sure once it is synced, a directory's entries once it is synced;
    of what is not, any part may be there: unsynced content as written, gone, cut in
    half or zeroed; of the unsynced changes of a directory, each kept or dropped (a
    rename within one directory is one change, as journals keep it).
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.top = self._take(root)

    def _take(self, path: Path) -> _Inode:
        if not path.is_dir():
            content = path.read_bytes()
            return _Inode(False, content, content)
        entries = {child.name: self._take(child) for child in path.iterdir()}
        return _Inode(True, entries=entries, durable_entries=dict(entries))

    def _find(self, path: Path) -> _Inode:
        node = self.top
        for part in path.relative_to(self.root).parts:
            node = node.entries[part]
        return node

    def apply(self, operation: Operation) -> None:
        path = operation.path
        if operation.kind in ("write", "truncate"):
            node = self._find(path)
            size = operation.size if operation.kind == "truncate" else len(node.data)
            node.data = node.data[:size] + operation.data
            node.pending = True
        elif operation.kind == "sync":
            node = self._find(path)
            node.durable, node.pending = node.data, False
        elif operation.kind == "sync_directory":
            node = self._find(path)
            node.durable_entries, node.changes = dict(node.entries), []
        else:
            self._change(operation)

    def _change(self, operation: Operation) -> None:
        path, parent = operation.path, self._find(operation.path.parent)
        change: dict[str, _Inode | None]
        if operation.kind == "rename":
            assert operation.target is not None
            assert operation.target.parent == path.parent
            change = {path.name: None, operation.target.name: parent.entries[path.name]}
        elif operation.kind in ("unlink", "rmdir"):
            change = {path.name: None}
        elif path.name in parent.entries:  # an open of what is there
            return
        else:
            change = {path.name: _Inode(operation.kind == "mkdir")}
        parent.changes.append(change)
        _merge(parent.entries, change)

    def states(self) -> Iterator[Tree]:
        """Trees that the disk may hold after the power is lost now."""
        for content in ("written", "lost", "half", "zeros"):
            for keep in ("all", "none", "first", "last", "files", "renames"):
                tree: Tree = {}
                self._remaining(self.top, (), content, keep, tree)
                yield tree

    def _remaining(
        self, node: _Inode, at: tuple[str, ...], content: str, keep: str, tree: Tree
    ) -> None:
        entries = dict(node.durable_entries)
        for index, change in enumerate(node.changes):
            kept = {
                "all": True,
                "none": False,
                "first": index == 0,
                "last": index == len(node.changes) - 1,
                "files": len(change) == 1,
                "renames": len(change) == 2,
            }[keep]
            if kept:
                _merge(entries, change)
        for name, child in entries.items():
            parts = (*at, name)
            tree[parts] = None if child.directory else _content(child, content)
            if child.directory:
                self._remaining(child, parts, content, keep, tree)


def _merge(entries: dict[str, _Inode], change: dict[str, _Inode | None]) -> None:
    for name, node in change.items():
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node


def _content(node: _Inode, content: str) -> bytes:
    if not node.pending:
        return node.durable
    return {
        "written": node.data,
        "lost": node.durable,
        "half": node.data[: len(node.data) // 2],
        "zeros": bytes(len(node.data)),
    }[content]
