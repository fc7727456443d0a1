"""Messages between this process and a worker: one byte, or plain data as JSON.

Decoding a message cannot execute code. Arrays are sent as their bytes.
"""

import base64
import json
import os
import select
import time
from typing import Any

import numpy as np

RESET, STEP, STEP_ACTIVE = b"r", b"s", b"a"
DONE, DONE_WITH_FINALS = b".", b"f"
CALL, ANSWER, FAILED = b"c", b"=", b"!"
WITH_DATA = (CALL, ANSWER, FAILED)


class ClosedError(Exception):
    """The other side has closed the channel."""


class LateError(Exception):
    """The other side did not reply in time."""


def encode(data: Any) -> bytes:
    """Plain data, arrays and bytes as JSON; a TypeError for other types."""

    # types that JSON does not have
    def other(value: Any) -> Any:
        if isinstance(value, np.generic):
            value = np.asarray(value)
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            text = base64.b64encode(value.tobytes()).decode()
            return {"__array__": [value.dtype.str, list(value.shape), text]}
        if isinstance(value, bytes):
            return {"__bytes__": base64.b64encode(value).decode()}
        raise TypeError(f"{type(value).__name__} is not plain data")

    return json.dumps(data, default=other).encode()


def decode(text: bytes) -> Any:
    """The inverse of `encode`; tuples come back as lists."""

    # the inverse of each form; any other mapping is data
    def other(item: dict[str, Any]) -> Any:
        if "__array__" in item:
            dtype, shape, content = item["__array__"]
            flat = np.frombuffer(base64.b64decode(content), dtype)
            return flat.reshape(shape).copy()
        if "__bytes__" in item:
            return base64.b64decode(item["__bytes__"])
        return item

    return json.loads(text, object_hook=other)


class Channel:
    """Messages over a pair of pipes.

    Pipes are as fast as semaphores, report immediately that the other side has died,
    and leave no resources behind.
    """

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = reads, writes
        self._closed = False
        os.set_blocking(writes, False)
        self._poll = select.poll()
        self._poll.register(reads, select.POLLIN)

    def post(self, kind: bytes) -> None:
        """Sends one byte; a ClosedError if the other side has closed the channel."""
        self._write(kind)

    def send(self, kind: bytes, data: Any, seconds: float | None = None) -> None:
        """Sends plain data; without `seconds`, there is no time limit.

        Raises:
          TypeError: it is not plain data.
          ClosedError: the other side has closed the channel.
          LateError: the other side did not read in time.
        """
        # kind, length in 8 bytes, text
        text = encode(data)
        self._write(kind + len(text).to_bytes(8, "little") + text, seconds)

    def receive(self, seconds: float | None) -> tuple[bytes, Any]:
        """(kind, data or None) of the next message; without `seconds`, no time limit.

        Raises a ClosedError or a LateError as `send`.
        """
        end = None if seconds is None else time.monotonic() + seconds
        kind = self._read(1, end)
        if kind not in WITH_DATA:
            return kind, None
        size = int.from_bytes(self._read(8, end), "little")
        return kind, decode(self._read(size, end))

    def close(self) -> None:
        """Closes both of our ends; further calls have no effect."""
        if not self._closed:
            self._closed = True
            os.close(self._reads)
            os.close(self._writes)

    def _read(self, size: int, end: float | None) -> bytes:
        content = b""
        while len(content) < size:
            if end is not None:
                left = max(0.0, end - time.monotonic())
                if not self._poll.poll(1000 * left):
                    raise LateError
            part = os.read(self._reads, size - len(content))
            if not part:
                raise ClosedError
            content += part
        return content

    def _write(self, message: bytes, seconds: float | None = None) -> None:
        # the pipe may take only a part of a long message at a time
        view = memoryview(message)
        try:
            while view:
                try:
                    view = view[os.write(self._writes, view) :]
                except BlockingIOError:
                    if not select.select([], [self._writes], [], seconds)[1]:
                        raise LateError from None
        except BrokenPipeError:
            raise ClosedError from None
