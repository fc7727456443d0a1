"""Output streams that never raise and, for progress, never block."""

import codecs
import contextlib
import io
import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import IO, Any

MAX_PENDING = 1000


def encoding_of(stream: Any) -> str:
    """Encoding of a text stream; UTF-8 if it has none."""
    return getattr(stream, "encoding", None) or "utf-8"


def descriptor_of(stream: Any) -> int | None:
    """File descriptor behind a stream; None for streams in memory and closed ones."""
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return None


def _is_terminal(stream: IO[str] | None) -> bool:
    try:
        return bool(stream and stream.isatty())
    except ValueError:  # closed
        return False


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all of `data` without buffers, which could fail at exit."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:  # another process made the descriptor non-blocking
            select.select([], [descriptor], [])


class BackgroundWriter:
    """A text stream written by a thread, so that its reader cannot block the writer.

    If the reader is gone, text is discarded. If the reader is stuck (a full pipe, a
    paused terminal), at most `MAX_PENDING` pieces wait and the rest is discarded.
    """

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream
        self._descriptor = descriptor_of(stream)
        self.encoding = encoding_of(stream)
        self._pending: deque[str] = deque()
        self._changed = threading.Condition()
        self._busy = False
        self._dead = stream is None
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> int:
        """Passes `text` to the thread; returns at once."""
        with self._changed:
            if not self._dead and len(self._pending) < MAX_PENDING:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, daemon=True)
                    self._thread.start()
                self._pending.append(text)
                self._changed.notify_all()
        return len(text)

    def flush(self) -> None:
        """Does nothing: the thread writes text as soon as possible."""

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return _is_terminal(self._stream)

    def fileno(self) -> int:
        """Descriptor of the stream; an OSError if it has none."""
        if self._descriptor is None:
            raise OSError("this stream has no file descriptor")
        return self._descriptor

    def drain(self, seconds: float = 1.0) -> None:
        """Waits until all text is written, but at most `seconds`."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._dead or not (self._pending or self._busy), seconds
            )

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: bool(self._pending))
                text = "".join(self._pending)
                self._pending.clear()
                self._busy = True
            try:
                self._write_now(text)
            except (OSError, ValueError):
                with self._changed:
                    self._dead = True
                    self._pending.clear()
                    self._changed.notify_all()
                return

    def _write_now(self, text: str) -> None:
        if self._descriptor is not None:
            write_all(self._descriptor, text.encode(self.encoding, "replace"))
        elif self._stream is not None:
            self._stream.write(text)
            self._stream.flush()


class _Lines(io.RawIOBase):
    """The binary side of a `LineForwarder`."""

    mode = "wb"

    def __init__(
        self, say: Callable[[str], None], descriptor: int, name: str, once: bool
    ) -> None:
        self.name = name
        self._say = say
        self._descriptor = descriptor
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._once = once
        self._said: set[str] = set()
        self._lock = threading.RLock()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        """Descriptor for writers that bypass Python."""
        return self._descriptor

    def write(self, data: Any) -> int:
        """Forwards the lines that UTF-8 text completes."""
        self.put(self._decoder.decode(bytes(data)))
        return len(data)

    def put(self, text: str) -> None:
        """Forwards the lines that `text` completes."""
        with self._lock:
            if self._once and not self._rest and text.endswith("\n"):
                if text in self._said:
                    return
                if len(self._said) < MAX_PENDING:
                    self._said.add(text)
            *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._say(line)

    def finish(self) -> None:
        """Forwards a last line without a newline."""
        if self._rest:
            self.put("\n")


class LineForwarder(io.TextIOWrapper):
    """A replacement of `sys.stdout` or `sys.stderr` that forwards lines as messages.

    It has everything that a text file has, such as `buffer` and `reconfigure`.
    """

    def __init__(
        self, say: Callable[[str], None], descriptor: int, name: str, once: bool = False
    ) -> None:
        """Replaces the stream with this descriptor and name.

        With `once`, lines written by one call, such as a warning, are forwarded only
        the first time.
        """
        self._lines = _Lines(say, descriptor, name, once)
        super().__init__(io.BufferedWriter(self._lines), "utf-8", "replace")

    def write(self, text: str) -> int:
        """Forwards the lines that `text` completes."""
        self._lines.put(text)
        return len(text)

    def finish(self) -> None:
        """Forwards all that has been written."""
        with contextlib.suppress(ValueError):  # closed or detached by its user
            self.flush()
        self._lines.finish()


class ResultStream:
    """Standard output, reserved for results.

    Between `reserve` and `release`, the output of environments and libraries becomes
    messages (that of native code goes to standard error), and only `write` writes to
    standard output.
    """

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream
        self._reserved: int | None = None
        self._python_streams: tuple[Any, Any] = (None, None)
        self._forwarders: tuple[LineForwarder, ...] = ()
        self.failure: OSError | None = None

    def isatty(self) -> bool:
        """Whether results go to a terminal."""
        return _is_terminal(self._stream)

    def reserve(
        self, say_out: Callable[[str], None], say_err: Callable[[str], None]
    ) -> None:
        """Redirects all other output to `say_out` (stdout) and `say_err` (stderr)."""
        self._python_streams = (sys.stdout, sys.stderr)
        self._forwarders = (
            LineForwarder(say_out, 1, "<stdout>"),
            LineForwarder(say_err, 2, "<stderr>", once=True),
        )
        sys.stdout, sys.stderr = self._forwarders
        if descriptor_of(self._stream) != 1:
            return
        try:
            self._reserved = os.dup(1)
            os.dup2(2, 1)
        except OSError:  # one of the two is closed: nothing to separate
            self._restore_descriptor()

    def release(self) -> None:
        """Undoes `reserve`."""
        sys.stdout, sys.stderr = self._python_streams
        for forwarder in self._forwarders:
            forwarder.finish()
        self._restore_descriptor()

    def _restore_descriptor(self) -> None:
        if self._reserved is not None:
            os.dup2(self._reserved, 1)
            os.close(self._reserved)
            self._reserved = None

    def write(self, text: str) -> None:
        """Writes `text`; a reader that is gone is not a failure."""
        try:
            if self._stream is None:
                return
            descriptor = self._reserved or descriptor_of(self._stream)
            if descriptor is None:
                self._stream.write(text)
            else:
                data = text.encode(encoding_of(self._stream), "replace")
                write_all(descriptor, data)
        except (BrokenPipeError, ValueError):
            pass
        except OSError as error:
            self.failure = error
