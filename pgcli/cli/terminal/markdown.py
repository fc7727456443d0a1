"""Markdown on a terminal, by rich; imported only for output to a terminal."""

import io
import re
import textwrap
from itertools import groupby

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown
from rich.style import Style
from rich.text import Text
from rich.theme import Theme

from pgcli.cli.algorithm_pages import cells

_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_LOCAL_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]*\)")
_PADDING = 2  # cells that rich adds to each column
_INDENT = 3  # cells that rich puts before the text of an item

_THEME = Theme(
    {
        "markdown.h1": Style(bold=True, underline=True),
        "markdown.h2": Style(bold=True, color="green"),
        "markdown.code": Style(color="cyan"),
        "markdown.item.bullet": Style(dim=True),
        "markdown.table.header": Style(bold=True),
    }
)


class _PlainHeading(Heading):
    LEVEL_ALIGN = dict.fromkeys(Heading.LEVEL_ALIGN, "left")


class _PlainCode(CodeBlock):
    """Code without highlighting, background or wrapping."""

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        code = textwrap.indent(str(self.text).rstrip(), "  ")
        yield Text(code, no_wrap=True, overflow="ignore")


class _Document(Markdown):
    elements = Markdown.elements | {
        "heading_open": _PlainHeading,
        "fence": _PlainCode,
        "code_block": _PlainCode,
    }


def render(text: str, width: int, *, color: bool) -> str:
    """Markdown as styled lines of at most `width` cells.

    Targets of links to other files are dropped. A table that is too wide becomes a
    list with one item per row.
    """
    text = narrow_tables(_LOCAL_LINK.sub(r"\1", text), width)
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=True,
        color_system="standard",
        no_color=not color,
        theme=_THEME,
        highlight=False,
        legacy_windows=False,
    )
    with console.capture() as capture:
        console.print(_Document(text), crop=False)
    lines = capture.get().rstrip().splitlines()
    return "\n".join(line.rstrip() for line in lines)


def narrow_tables(text: str, width: int) -> str:
    """`text` with every table wider than `width` cells replaced by a list."""
    parts: list[str] = []
    fenced = False
    for is_table, group in groupby(text.split("\n"), lambda line: line.startswith("|")):
        lines = list(group)
        if is_table and not fenced and _natural_width(lines) > width:
            header, body = cells(lines[0]), [cells(line) for line in lines[2:]]
            lines = [_item(header, row, width) for row in body]
        fenced ^= sum(line.startswith("```") for line in lines) % 2 == 1
        parts += lines
    return "\n".join(parts)


def _natural_width(lines: list[str]) -> int:
    table = [map(_length, cells(line)) for line in (lines[0], *lines[2:])]
    widths: list[int] = [max(column) for column in zip(*table, strict=True)]
    return sum(widths) + _PADDING * len(widths)


def _length(text: str) -> int:
    """Number of cells of a text without its markup."""
    return len(re.sub("[`*]", "", _LINK.sub(r"\1", text)))


def _item(header: list[str], row: list[str], width: int) -> str:
    """A row as an item: the first cell, then the others, as many per line as fit."""
    lines = [f"**{row[0]}**"]
    for name, cell in zip(header[1:], row[1:], strict=True):
        if not cell:
            continue
        part = f"*{name}*: {cell}"
        joined = f"{lines[-1]} · {part}"
        if len(lines) > 1 and _length(joined) <= width - _INDENT:
            lines[-1] = joined
        else:
            lines.append(part)
    return "- " + "\\\n  ".join(lines)
