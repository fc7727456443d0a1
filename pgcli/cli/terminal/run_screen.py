"""`pgcli runs show`: a run on one screen."""

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pgcli.cli.terminal.chart import draw
from pgcli.cli.terminal.console import Terminal, table
from pgcli.errors import UsageError
from pgcli.report.text import members_rows

if TYPE_CHECKING:
    from pgcli.report.overview import Overview

HEIGHT = 7
"""Lines of the curve."""

MEMBERS = 8
"""Rows of the table of members."""


def run_screen(terminal: Terminal, run: "Overview", advice: Sequence[str]) -> str:
    """Facts, curve, members and advice, at most as wide as the terminal."""
    parts = [_facts(terminal, run, advice), *_curve(terminal, run), *_members(run)]
    return "\n\n".join(parts)


def _facts(terminal: Terminal, run: "Overview", advice: Sequence[str]) -> str:
    machine = dict(run.machine())
    jax = f"jax {machine['jax']}" if "jax" in machine else ""
    used = (machine.get("accelerator", ""), machine.get("CPU", ""), jax)
    rows = [
        ("run", str(run.run.path)),
        ("trained", run.title),
        *((fact.name, f"{fact.value}  {fact.detail}") for fact in run.facts()),
        ("machine", ", ".join(filter(None, used))),
        *(("advice", text) for text in advice),
    ]
    if not terminal.formats:
        return table(rows)
    # continued lines are indented below the text
    gap = " " * (max(len(name) for name, _ in rows) + 2)
    width = shutil.get_terminal_size().columns
    return "\n".join(
        textwrap.fill(
            name.ljust(len(gap)) + terminal.short(text),
            width,
            subsequent_indent=gap,
            break_on_hyphens=False,
        )
        for name, text in rows
    )


def _curve(terminal: Terminal, run: "Overview") -> Iterator[str]:
    from pgcli.storage import curves

    try:
        (panel,) = curves.panels([run.run], x="steps", keys=["return_mean"])
    except UsageError:  # no episode has ended yet
        return
    if (count := len(panel.curves)) > MEMBERS:
        title = f"{panel.title} of the first {MEMBERS} of {count}"
        panel = panel._replace(title=title, curves=panel.curves[:MEMBERS])
    yield "\n".join(draw(terminal, [panel], color=terminal.formats, height=HEIGHT))


def _members(run: "Overview") -> Iterator[str]:
    head, *rows = members_rows(run.result) or [()]
    if rows:
        more = len(rows) - MEMBERS
        rest = f"\n{more} more: `pgcli runs show {run.run.name} --json`"
        yield table(rows[:MEMBERS], head) + rest * (more > 0)
