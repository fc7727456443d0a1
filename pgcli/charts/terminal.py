"""A panel as lines of text: dots of braille patterns, or stars where there are none."""

from collections.abc import Callable

import numpy as np

from pgcli.charts.base import Axis, Panel, axes_of, short

DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"""Bit of each dot of a braille pattern, by row and column."""

GUTTER = 8


def lines(
    panel: Panel,
    width: int,
    height: int,
    *,
    unicode: bool = True,
    paint: Callable[[str, int], str] = lambda text, index: text,
) -> list[str]:
    """The panel in `width` × `height` cells, its axes and a legend around them.

    Args:
      panel: what to draw.
      width: columns, with the labels on the left.
      height: lines of the drawing.
      unicode: whether the terminal shows braille patterns.
      paint: gives text the colour of the curve of that index.
    """
    x_axis, y_axis = axes_of(panel, width // 14 + 1, max(height // 3, 3))
    columns = width - GUTTER - 1
    down, across = DOTS.shape if unicode else (1, 1)
    cells = np.zeros((height, columns), int)
    owner = np.zeros((height, columns), int)

    # dots of each curve; the last curve gives a cell its colour
    for index, curve in enumerate(panel.curves):
        x, y = _dots(curve.x, curve.y, x_axis, y_axis, columns * across, height * down)
        row, column = y // down, x // across
        bits = DOTS[y % down, x % across] if unicode else 1
        np.bitwise_or.at(cells, (row, column), bits)
        owner[row, column] = index

    # labels of the ticks nearest to each line, then the drawing
    labels = {
        round((y_axis.high - tick) / (y_axis.high - y_axis.low) * (height - 1)): tick
        for tick in y_axis.ticks
    }
    text = []
    for row in range(height):
        label = short(labels[row]) if row in labels else ""
        drawn = "".join(
            paint(chr(0x2800 + bits) if unicode else "*", int(who)) if bits else " "
            for bits, who in zip(cells[row], owner[row], strict=True)
        )
        text.append(f"{label:>{GUTTER}}{'│' if unicode else '|'}{drawn}".rstrip())
    ends = short(x_axis.low), short(x_axis.high)
    text.append(" " * (GUTTER + 1) + ends[0] + f"{ends[1]:>{columns - len(ends[0])}}")
    if len(panel.curves) > 1:
        mark = "━━" if unicode else "--"
        text += [
            " " * (GUTTER + 1) + f"{paint(mark, i)} {curve.label}"
            for i, curve in enumerate(panel.curves)
        ]
    return text


def _dots(
    x: np.ndarray, y: np.ndarray, x_axis: Axis, y_axis: Axis, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of the dots of a line, counted from the upper left corner."""
    known = np.isfinite(x) & np.isfinite(y)
    across = (x[known] - x_axis.low) / (x_axis.high - x_axis.low or 1.0) * (width - 1)
    up = (y[known] - y_axis.low) / (y_axis.high - y_axis.low or 1.0) * (height - 1)
    if len(across) > 1:  # a dot in every column between two points
        order = np.argsort(across, kind="stable")
        between = np.arange(np.ceil(across.min()), np.floor(across.max()) + 1)
        across, up = (
            np.concatenate([across, between]),
            np.concatenate([up, np.interp(between, across[order], up[order])]),
        )
    columns, rows = across.round().astype(int), height - 1 - up.round().astype(int)
    return columns, rows
