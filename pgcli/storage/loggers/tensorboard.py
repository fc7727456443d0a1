"""Metrics as TensorBoard event files, written by hand: it takes no package.

The writers that exist hand events to a thread; when a write fails there, training
blocks on the full queue. Here a row is one write of one record: its length, a masked
CRC-32C of the length, a serialised `Event` protocol buffer, a masked CRC-32C of it
(the TFRecord format; CRC-32C is that of RFC 3720, appendix B.4).
"""

import contextlib
import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgcli.storage import files
from pgcli.storage.loggers.jsonl import jsonable
from pgcli.storage.loggers.write_errors import Guard, Warn, default_warn

_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5  # wire types


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_CRC = _crc_table()


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum of `data`."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def record(data: bytes) -> bytes:
    """`data` framed with its length and checksums."""
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def _varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, wire: int, payload: bytes) -> bytes:
    length = _varint(len(payload)) if wire == _BYTES else b""
    return _varint(number << 3 | wire) + length + payload


def _event(step: int, number: int, payload: bytes) -> bytes:
    """A record with an Event: wall_time = 1, step = 2, what happened = `number`."""
    now = _field(1, _DOUBLE, struct.pack("<d", time.time()))
    at = _field(2, _VARINT, _varint(step))
    return record(now + at + _field(number, _BYTES, payload))


def scalars(step: int, metrics: Mapping[str, float]) -> bytes:
    """A record with an Event that holds a Summary (field 5) of simple values."""
    summary = b""
    for tag, number in metrics.items():
        item = _field(1, _BYTES, tag.encode()) + _field(2, _FLOAT, _float(number))
        summary += _field(1, _BYTES, item)
    return _event(step, 5, summary)


def _float(number: float) -> bytes:
    try:
        return struct.pack("<f", number)
    except OverflowError:  # beyond float32
        return struct.pack("<f", float("inf") if number > 0 else float("-inf"))


class TensorBoardLogger:
    """Appends scalars to an event file of its own in `tensorboard/`."""

    def __init__(
        self, directory: Path, *, after_step: int | None, warn: Warn = default_warn
    ) -> None:
        """Opens an event file; see `pgcli.storage.loggers.base.Logger`."""
        name = f"events.out.tfevents.{time.time_ns() // 10**9:010d}"
        name += f".{socket.gethostname()}.{os.getpid()}"
        self.path = directory / "tensorboard" / name
        self._guard = Guard("tensorboard", warn)
        self._file: files.OpenFile | None = None
        self._whole = 0
        self._head = _event(0, 3, b"brain.Event:2")
        if after_step is not None:  # session_log START: drop what has this step or more
            self._head += _event(after_step + 1, 7, _field(1, _VARINT, _varint(1)))

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Appends the metrics that are finite numbers."""
        plain = jsonable(dict(metrics))
        numbers = {k: v for k, v in plain.items() if isinstance(v, int | float)}
        self._guard(lambda: self._append(scalars(step, numbers)))

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _append(self, data: bytes) -> None:
        if self._file is None:
            files.ensure_directory(self.path.parent)
            self._file = files.OpenFile(self.path)
            self._whole = self._file.size
        if self._file.size > self._whole:  # a write that failed left a part
            self._file.truncate(self._whole)
        if self._head:
            data = self._head + data
        self._file.append(data)
        self._whole += len(data)
        self._head = b""
