"""Columns of a log of JSON lines; of a long log, those of evenly spaced rows."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

WHOLE = 4 << 20
"""Bytes up to which a log is read whole."""

SAMPLES = 2_000
"""Places at which a longer log is read: more than a picture has columns."""

LONGEST = 4096
"""Bytes that a row takes at most, for finding the last ones."""


def columns(
    path: Path, keys: Sequence[str], width: int = 1
) -> Mapping[str, np.ndarray]:
    """Values of each key by row, NaN where it is missing or null; empty without a log.

    Args:
      path: the log.
      keys: keys of numbers; `name[0]` is the first one of a list.
      width: rows that belong together: those of all members of an iteration.
    """
    values: dict[str, list[float]] = {key: [] for key in keys}
    lists = {key: key[:-1].partition("[") for key in keys if key.endswith("]")}
    for row in rows(path, width):
        for key, column in values.items():
            value = row.get(key)
            if key in lists and isinstance(of := row.get(lists[key][0]), list):
                value = of[int(lists[key][2])]
            column.append(value if isinstance(value, int | float) else np.nan)
    return {key: np.array(column, float) for key, column in values.items()}


def rows(path: Path, width: int = 1) -> Iterator[Mapping[str, Any]]:
    """All complete rows; of a long log, evenly spaced ones and the last."""
    for line in _lines(path, width):
        try:
            row = json.loads(line)
        except ValueError:  # the process was killed in the middle of a line
            continue
        if isinstance(row, dict):
            yield row


def _lines(path: Path, width: int) -> Iterator[bytes]:
    """All lines of the file, or evenly spaced groups of `width` and always the last."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        size = path.stat().st_size
        if size <= WHOLE:
            yield from file
            return
        done = 0
        for place in np.linspace(0, size, max(SAMPLES // width, 2), endpoint=False):
            if place > done:
                file.seek(int(place))
                file.readline()  # the rest of a line
            for _ in range(width):
                yield file.readline()
            done = file.tell()
        if done < size:
            file.seek(max(size - LONGEST * width, done))
            yield from file.readlines()[-width:]
