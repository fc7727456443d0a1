"""Reading of the files of a checkpoint; all content is verified before it is used."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pgcli.errors import CheckpointError
from pgcli.storage import manifest
from pgcli.storage.manifest import DamagedError, Manifest

_DAMAGE = {
    errno.ENOENT,
    errno.ELOOP,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EIO,
    errno.ENXIO,
}


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """Yields the checkpoint's directory; adds path and remedy to errors inside."""
    # a symbolic link is not followed: it could point outside the run
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    directory = -1
    try:
        directory = os.open(path, flags)
        yield directory
    except OSError as error:
        raise _unreadable(path, directory, error) from None
    except CheckpointError as error:
        error.where = error.where or str(path)
        if isinstance(error, DamagedError) and error.help is None:
            lfs = "Git LFS" in error.message
            error.help = (
                "fetch the data with `git lfs pull`"
                if lfs
                else "`pgcli resume` falls back to the newest checkpoint that verifies"
            )
        raise
    finally:
        if directory >= 0:
            os.close(directory)


def _unreadable(path: Path, directory: int, error: OSError) -> CheckpointError:
    """The error for a path that could not be read; `directory` < 0 if not opened."""
    # a file in the checkpoint, or the path itself
    file = error.filename if directory >= 0 else None
    reason = f"{file}: {error.strerror}" if file else f"{error.strerror}"
    if directory < 0 and not os.path.lexists(path):
        return CheckpointError("there is no checkpoint here", where=str(path))

    # a file in place of the directory; its first bytes show its kind
    if directory < 0 and path.is_file() and not path.is_symlink():
        with contextlib.suppress(OSError), path.open("rb") as stream:
            reason = manifest.foreign(stream.read(64)) or "a file"
        message = f"this is {reason}; a checkpoint is a directory with {manifest.NAME}"
        return DamagedError(message, where=str(path))

    # some errors are damage, others are not, such as missing permissions
    kind = DamagedError if error.errno in _DAMAGE else CheckpointError
    return kind(f"the checkpoint cannot be read: {reason}", where=str(path))


def read_manifest(directory: int) -> bytes:
    """The content of `manifest.json`, not verified."""
    return _read_regular(directory, manifest.NAME, None)


def read(directory: int, name: str, held: Manifest) -> bytes:
    """The content of a file; a DamagedError if it is not the one in the manifest."""
    entry = held.files[name]
    data = _read_regular(directory, name, entry.size)
    actual = manifest.sha256(data)
    if actual != entry.sha256:
        raise DamagedError(
            f"{name} has SHA-256 {actual}; expected {entry.sha256} (manifest)"
        )
    return data


def _read_regular(directory: int, name: str, size: int | None) -> bytes:
    """The content of a regular file of size `size`, or of any size if None."""
    # non-blocking, so that opening a named pipe returns
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, dir_fd=directory), "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise DamagedError(f"{name} is not a regular file")
        if size is not None and status.st_size != size:
            kind = manifest.foreign(stream.read(64))
            actual = f"{status.st_size} bytes" + (f" and is {kind}" if kind else "")
            raise DamagedError(f"{name} has {actual}; expected {size} bytes (manifest)")
        if size is None and status.st_size > manifest.MAX_MANIFEST_BYTES:
            raise DamagedError(f"{name} is too large: {status.st_size} bytes")
        data = stream.read(status.st_size + 1)
    if len(data) != status.st_size:
        raise DamagedError(f"{name} changed while it was read")
    return data
