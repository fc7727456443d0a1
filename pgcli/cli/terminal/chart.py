"""Learning curves as text."""

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pgcli.cli.terminal.console import Terminal

if TYPE_CHECKING:
    from pgcli.charts.base import Panel

COLORS = (36, 31, 32, 35, 33, 34)
"""Colours of the curves, as ANSI codes."""

HEIGHT, WIDEST = 12, 100


def draw(
    terminal: Terminal, panels: Sequence["Panel"], *, color: bool, height: int = HEIGHT
) -> list[str]:
    """Lines of the panels, as wide as the terminal."""
    from pgcli.charts import terminal as charts

    def paint(text: str, index: int) -> str:
        if not color or terminal.no_color:
            return text
        return f"\x1b[{COLORS[index % len(COLORS)]}m{text}\x1b[0m"

    width = min(shutil.get_terminal_size().columns, WIDEST)
    drawn = []
    for panel in panels:
        drawn += ["", " " * (charts.GUTTER + 1) + panel.title]
        drawn += charts.lines(
            panel, width, height, unicode=terminal.unicode, paint=paint
        )
    return drawn[1:]
