"""Panels as picture files: SVG by our own writer, PNG by matplotlib."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from pgcli.charts import svg
from pgcli.charts.base import Panel
from pgcli.errors import UsageError
from pgcli.extras import pip_install
from pgcli.report.plot import EXTRA, is_available


def check_file(path: Path, ends: Sequence[str]) -> None:
    """Raises a UsageError if no file with one of these ends can be written there."""
    if path.suffix not in ends:
        ends_or = " or ".join(ends)
        raise UsageError(f"`-o {path}`: expected a file that ends in {ends_or}")
    if not path.parent.is_dir():
        raise UsageError(f"`-o {path}`: there is no directory {path.parent}")


def check_path(path: Path) -> None:
    """Raises a UsageError if no picture of that kind can be written there."""
    check_file(path, (".svg", ".png"))
    if path.suffix == ".png" and not is_available():
        raise UsageError(
            "PNG needs a package that is not installed",
            help=f"{pip_install(EXTRA)}, or write an .svg",
        )


def write(panels: Sequence[Panel], path: Path) -> None:
    """Writes the panels, below each other; a UsageError if that fails."""
    try:
        if path.suffix == ".svg":
            path.write_text(svg.chart(panels), encoding="utf-8")
        else:
            _png(panels, path)
    except OSError as error:
        raise UsageError(f"`-o {path}`: {error.strerror}") from error


def _png(panels: Sequence[Panel], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.2 * len(panels)), layout="constrained")
    FigureCanvasAgg(figure)
    for row, panel in enumerate(panels):
        axes = figure.add_subplot(len(panels), 1, row + 1)
        for curve, color in zip(
            panel.curves, itertools.cycle(svg.COLORS), strict=False
        ):
            if curve.low is not None and curve.high is not None:
                axes.fill_between(
                    curve.x, curve.low, curve.high, color=color, alpha=0.18, linewidth=0
                )
            axes.plot(curve.x, curve.y, color=color, linewidth=1.6, label=curve.label)
        axes.set_title(panel.title, loc="left", fontsize=10)
        axes.set_xlabel(panel.x_title)
        axes.grid(axis="y", color="#e3e3e3")
        axes.spines[["top", "right"]].set_visible(False)
        if len(panel.curves) > 1:
            axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)
