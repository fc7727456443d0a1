"""Pictures by matplotlib, an extra: imported only when a picture is drawn."""

import importlib.util
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from pgcli.config.algorithms import ALGORITHM_CONFIGS

EXTRA = "plot"

DOTTED, DASHED = (0, (1.2, 1.4)), (0, (5, 1.6))
# Okabe and Ito's colours, the pale ones darkened: distinct with the common colour
# vision deficiencies. Line styles distinguish them further.
PALETTE = (
    ("#7f7f7f", DOTTED),
    ("#3d9fdc", DOTTED),
    ("#0072b2", DOTTED),
    ("#009e73", DASHED),
    ("#c0629a", DASHED),
    ("#b8860b", "solid"),
    ("#d55e00", "solid"),
    ("#000000", "solid"),
    ("#882255", "solid"),
)
STYLES: Mapping[str, tuple[str, Any]] = dict(
    zip(ALGORITHM_CONFIGS, itertools.cycle(PALETTE), strict=False)
)
"""Colour and line of each rung, in the order of the registry."""

WIDTH, HEIGHT, PANEL_HEIGHT = 8.0, 4.4, 1.7
"""In inches: width, height of the panel of all curves, of a row of single panels."""

COLUMNS = 4
CROWD = 4
"""With more curves than this, each interval gets a panel of its own."""

FONT_POINTS = 10
QUIET, PALE, GRID = "#555555", "#cfcfcf", "#e6e6e6"


def is_available() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Label heights nearest to those wanted and at least `gap` apart.

    Least squares with the order of the heights kept, by pooling adjacent violators.
    Then the heights are shifted into [low, high] as far as possible.
    """
    order = sorted(range(len(wanted)), key=lambda i: -wanted[i])
    pools: list[list[float]] = []  # from the top, lifted by place × gap
    for place, i in enumerate(order):
        pools.append([wanted[i] + place * gap])
        while len(pools) > 1 and fmean(pools[-2]) < fmean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    lifted = [fmean(pool) for pool in pools for _ in pool]
    floor = low + (len(order) - 1) * gap
    heights = [0.0] * len(order)
    for place, i in enumerate(order):
        heights[i] = max(min(lifted[place], high), floor) - place * gap
    return heights


def learning_curves(result: Mapping[str, Any], out: Path) -> dict[str, str]:
    """Draws IQM over seeds by steps; the paths of `curves.png` and `curves.svg`."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {
        "font.size": FONT_POINTS,
        "svg.hashsalt": "pgcli",
        "svg.fonttype": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with mpl.rc_context(style):
        # all curves on top; below, a panel for each if they are many
        count = len(result["curves"]["rungs"])
        rows = -(-count // COLUMNS) if count > CROWD else 0
        heights = [HEIGHT, *[PANEL_HEIGHT] * rows]
        figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.add_gridspec(1 + rows, COLUMNS, height_ratios=heights)
        axes = figure.add_subplot(grid[0, :])
        _draw_all(axes, result)
        for index, algo in enumerate(result["curves"]["rungs"] if rows else ()):
            place = grid[1 + index // COLUMNS, index % COLUMNS]
            panel = figure.add_subplot(place, sharex=axes, sharey=axes)
            _draw_one(panel, result, algo)
            panel.tick_params(labelleft=index % COLUMNS == 0)
            panel.tick_params(labelbottom=index + COLUMNS >= count)
        # without a date, so that the same result gives the same file
        paths = {kind: out / f"curves.{kind}" for kind in ("png", "svg")}
        for kind, path in paths.items():
            metadata = {"Date": None} if kind == "svg" else {}
            figure.savefig(path, dpi=200, metadata=metadata)
    return {kind: str(path) for kind, path in paths.items()}


def _draw_all(axes: Any, result: Mapping[str, Any]) -> None:
    """All rungs in one panel; with their intervals if they are few."""
    curves, (unit, name) = result["curves"], _unit(result["steps"])
    steps = [step / unit for step in curves["steps"]]
    crowded = len(curves["rungs"]) > CROWD
    # curves, and where their labels belong
    ends = []
    for algo, curve in curves["rungs"].items():
        color, line = STYLES[algo]
        if not crowded:
            _band(axes, steps, curve, color)
        axes.plot(steps, curve["iqm"], color=color, linestyle=line, linewidth=1.8)
        ends.append((algo, color, curve["iqm"][-1]))
    # limits that include every interval
    values = [
        value
        for curve in curves["rungs"].values()
        for part in ("low", "high")
        for value in curve[part]
    ]
    bottom, top = min(values), max(values)
    margin = 0.04 * (top - bottom or 1.0)
    axes.set_ylim(bottom - margin, top + margin)
    axes.set_xlim(0, steps[-1])
    _label_ends(axes, ends, bottom, top)
    # the threshold as a line
    threshold = result["threshold"]
    if threshold is not None and bottom <= threshold <= top:
        axes.axhline(threshold, color=QUIET, linewidth=0.8, zorder=0)
        axes.annotate(
            f"threshold {threshold:g}",
            (0, threshold),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=FONT_POINTS - 2,
            color=QUIET,
        )
    _furnish(axes)
    axes.set_xlabel(f"environment steps{name}")
    axes.set_ylabel("return, last 100 episodes")
    count = len(result["seeds"])
    seeds = f"{count} seeds" if count > 1 else "1 seed"
    below = "; below, each with its" if crowded else " with"
    title = f"interquartile mean over {seeds}{below} 95 % bootstrap interval"
    axes.set_title(f"{result['env']}: {title}", fontsize=FONT_POINTS, loc="left")


def _draw_one(axes: Any, result: Mapping[str, Any], shown: str) -> None:
    """One rung with its interval, the others in grey behind it."""
    curves, (unit, _) = result["curves"], _unit(result["steps"])
    steps = [step / unit for step in curves["steps"]]
    for algo, curve in curves["rungs"].items():
        if algo != shown:
            axes.plot(steps, curve["iqm"], color=PALE, linewidth=0.8)
    color, line = STYLES[shown]
    curve = curves["rungs"][shown]
    _band(axes, steps, curve, color)
    axes.plot(steps, curve["iqm"], color=color, linestyle=line, linewidth=1.6)
    _furnish(axes)
    axes.set_title(shown, fontsize=FONT_POINTS - 1, color=color, loc="left", pad=3)
    axes.tick_params(labelsize=FONT_POINTS - 2)


def _band(axes: Any, steps: Any, curve: Mapping[str, Any], color: str) -> None:
    axes.fill_between(
        steps, curve["low"], curve["high"], color=color, alpha=0.2, linewidth=0
    )


def _furnish(axes: Any) -> None:
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def _label_ends(
    axes: Any, ends: Sequence[tuple[str, str, float]], bottom: float, top: float
) -> None:
    """Writes the name of each rung at the end of its curve."""
    height = HEIGHT * 72 * 0.8  # approximate height of the axes in points
    gap = 1.25 * FONT_POINTS / height * (top - bottom or 1.0)
    heights = spread([end[2] for end in ends], gap, bottom, top)
    right = axes.get_xlim()[1]
    for (algo, color, value), label in zip(ends, heights, strict=True):
        axes.annotate(
            algo,
            (right, value),
            xytext=(1.035, label),
            textcoords=("axes fraction", "data"),
            color=color,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "linewidth": 0.8,
                "relpos": (0, 0.5),
                "shrinkA": 2,
                "shrinkB": 2,
            },
        )


def _unit(steps: int) -> tuple[float, str]:
    """(divisor of the steps, its name on the axis)."""
    if steps >= 2_000_000:
        return 1e6, ", millions"
    return (1e3, ", thousands") if steps >= 5_000 else (1.0, "")
