"""Curves, panels, and axes that end and tick at round numbers."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np


class Curve(NamedTuple):
    """A line that NaN interrupts, with a band if `low` and `high` are given."""

    label: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


class Panel(NamedTuple):
    """Curves over common axes."""

    title: str
    x_title: str
    curves: Sequence[Curve]


class Axis(NamedTuple):
    """Ends of an axis and the values of its ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]


def round_axis(
    values: Iterable[np.ndarray], count: int, from_zero: bool = False
) -> Axis:
    """An axis for all finite values, with at most about `count` ticks.

    Ticks are multiples of 1, 2 or 5 times a power of ten. An axis from zero ends with
    its largest value, another one begins and ends at ticks.
    """
    parts = [part[np.isfinite(part)] for part in values]
    finite = np.concatenate([*parts, np.zeros(0)])
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    if from_zero:
        low = min(low, 0.0)
    if low == high:
        margin = abs(low) / 2 or 0.5
        low, high = low - margin, high + margin
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(n * power for n in (1, 2, 5, 10) if n * power >= rough * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step)
    ticks = tuple(i * step for i in range(first, last + 1))
    if from_zero:
        inside = tuple(tick for tick in ticks if low <= tick <= high)
        return Axis(float(low), float(high), inside)
    return Axis(ticks[0], ticks[-1], ticks)


def axes_of(panel: Panel, x_ticks: int, y_ticks: int) -> tuple[Axis, Axis]:
    """The x axis, from zero to the end of the data, and the y axis."""
    curves = panel.curves
    bands = [c for curve in curves for c in (curve.low, curve.high) if c is not None]
    x = round_axis((curve.x for curve in curves), x_ticks, from_zero=True)
    return x, round_axis([*(curve.y for curve in curves), *bands], y_ticks)


def short(value: float) -> str:
    """A number for a tick: `250`, `-0.05`, `100k`, `2.5M`."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if suffix == 'k' else size):.4g}{suffix}"
    return f"{value:.4g}" if value else "0"
