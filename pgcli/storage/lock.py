"""The lock of a run directory: one writer; the kernel releases it on exit."""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from pgcli.errors import LockedError, PgcliError, UsageError
from pgcli.storage import files

ATTEMPTS = 10
PAUSE_SECONDS = 0.02
_BUSY = {errno.EAGAIN, errno.EACCES}


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file `path`; its content names the owner (pid, host, since).

    The lock is a `flock`, which ends with the process in any case. A child made by
    `os.fork` without exec shares it.

    Raises:
      LockedError: another process holds the lock.
      UsageError: the directory does not exist, or its file system has no locks.
    """
    try:
        file = files.OpenFile(path)
    except OSError as error:
        raise UsageError(
            f"cannot open the lock of the run: {error.strerror}", where=str(path)
        ) from None
    try:
        _acquire(file)
        with contextlib.suppress(OSError):  # the text is only for error messages
            file.truncate(0)
            file.append(_owner())
        yield
    finally:
        file.close()


def is_held(path: Path) -> bool:
    """Whether a live process holds the lock; takes a shared lock for a moment."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _BUSY
    finally:
        os.close(descriptor)
    return False


def _acquire(file: files.OpenFile) -> None:
    """Locks an open file exclusively, or raises."""
    # several attempts, because `is_held` of another process locks for a moment
    for attempt in range(ATTEMPTS):
        try:
            fcntl.flock(file.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError as error:
            if error.errno not in _BUSY:
                raise UsageError(
                    f"the file system cannot lock the run: {error.strerror}",
                    where=str(file.path),
                    help="put --runs-dir on a local disk",
                ) from None
        if attempt == ATTEMPTS - 1:
            raise _taken(file)
        time.sleep(PAUSE_SECONDS)

    # the file may have been opened before another process replaced the directory
    opened = os.fstat(file.descriptor)
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(opened, os.lstat(file.path)):
            return
    raise LockedError(
        "another process replaced this run directory", where=str(file.path.parent)
    )


def _owner() -> bytes:
    """The content of a lock held by this process."""
    since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
    return json.dumps(owner).encode("ascii") + b"\n"


def _taken(file: files.OpenFile) -> PgcliError:
    """The error for a lock that is held, with its owner."""
    try:
        owner = json.loads(file.read(0, 4096))
        by = f"process {owner['pid']} on {owner['host']} since {owner['since']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        by = "another process"
    return LockedError(
        f"this run is being written by {by}",
        where=str(file.path.parent),
        help="wait for it or stop it, or choose another --name",
    )
