"""A connection between two processes of a run: messages, and signs of life."""

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from pgcli.envs.workers.messages import decode, encode
from pgcli.errors import AcceleratorError

BEAT_SECONDS = 2.0
"""Interval of the signs of life."""

SILENCE_SECONDS = 20.0
"""Time without one after which the other process counts as lost."""

GRACE_SECONDS = 5.0
"""Time for a computation to notice a lost process, before this one ends."""

PART_BYTES = 2**20
"""Bytes that are sent or received at a time."""

_POLL_SECONDS = 0.1

Message = tuple[str, dict[str, Any]]
"""(kind, data)."""


class ProcessLostError(AcceleratorError):
    """A process of the run has ended, or does not answer."""


def read_message(sock: socket.socket, limit: int | None = None) -> Message:
    """The next message of a socket, as plain data; nothing in it is executed.

    Raises:
      OSError: the connection is broken; a timeout of the socket is one.
      ValueError: it is no message, or larger than `limit` bytes.
    """
    size = int.from_bytes(_read(sock, 8), "little")
    if limit is not None and size > limit:
        raise ValueError(f"a message of {size} bytes")
    kind, data = decode(_read(sock, size))
    if not isinstance(kind, str) or not isinstance(data, dict):
        raise ValueError("no message")
    return kind, data


def write_message(sock: socket.socket, kind: str, **data: Any) -> None:
    """Sends a message: its length in 8 bytes, then JSON."""
    text = encode([kind, data])
    text = len(text).to_bytes(8, "little") + text
    # the timeout of a socket is that of a whole call of `sendall`
    for start in range(0, len(text), PART_BYTES):
        sock.sendall(text[start : start + PART_BYTES])


def _read(sock: socket.socket, size: int) -> bytes:
    content = bytearray()
    while len(content) < size:
        part = sock.recv(min(size - len(content), PART_BYTES))
        if not part:
            raise ConnectionResetError("the connection was closed")
        content += part
    return bytes(content)


class Link:
    """A connection to another process of the run, which `name` describes."""

    def __init__(
        self,
        sock: socket.socket,
        name: str,
        on_signal: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Starts to read messages and to send signs of life.

        `on_signal` is called from another thread with the exit code for a signal that
        the other process received.
        """
        self.name = name
        self._sock, self._on_signal = sock, on_signal
        self._messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._sending = threading.Lock()
        self._reason, self._lost_at = "", 0.0
        self._closed = threading.Event()
        # every command waits for a reply, so small messages are sent at once
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(SILENCE_SECONDS)
        for job in (self._read_messages, self._send_beats):
            threading.Thread(target=job, daemon=True).start()

    @property
    def own_address(self) -> str:
        """Address of this machine in the connection."""
        return str(self._sock.getsockname()[0])

    @property
    def lost_seconds(self) -> float:
        """Time since the connection broke; 0 if it has not."""
        return time.monotonic() - self._lost_at if self._reason else 0.0

    def error(self) -> ProcessLostError:
        """The error for a lost process."""
        return ProcessLostError(
            f"{self.name} is lost: {self._reason or 'it does not answer'}",
            help="start all processes again with `pgcli resume`: the run continues "
            "from its newest checkpoint",
        )

    def send(self, kind: str, **data: Any) -> None:
        """Sends a message; a ProcessLostError if the connection is broken."""
        try:
            with self._sending:
                write_message(self._sock, kind, **data)
        except OSError as error:
            self._lose(error)
            raise self.error() from None

    def receive(self, idle: Callable[[], None] = lambda: None) -> Message:
        """The next message; `idle` is called while there is none, and may raise.

        Raises a ProcessLostError if the connection is broken.
        """
        while True:
            try:
                message = self._messages.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                idle()
                continue
            if message is None:
                # later calls raise the error too
                self._messages.put(None)
                raise self.error()
            return message

    def has_news(self) -> bool:
        """Whether a message waits to be received, or the connection is broken."""
        return not self._messages.empty()

    def close(self) -> None:
        """Closes the connection."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def _lose(self, error: Exception) -> None:
        if self._reason or self._closed.is_set():
            return
        late = isinstance(error, TimeoutError)
        self._lost_at = time.monotonic()
        self._reason = (
            f"no sign of life for {SILENCE_SECONDS:g} s"
            if late
            else "the connection was closed"
        )
        self._messages.put(None)

    def _read_messages(self) -> None:
        try:
            while True:
                kind, data = read_message(self._sock)
                if kind == "signal":
                    self._on_signal(int(data["code"]))
                elif kind != "beat":
                    self._messages.put((kind, data))
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._lose(error)

    def _send_beats(self) -> None:
        while not self._closed.wait(BEAT_SECONDS):
            # a long message is a sign of life, too
            if self._sending.acquire(blocking=False):
                self._sending.release()
                with contextlib.suppress(ProcessLostError):
                    self.send("beat")
            if self._reason:
                return


def free_port(host: str) -> int:
    """A TCP port that is free at the moment."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.bind((host, 0))
        port: int = sock.getsockname()[1]
    return port
