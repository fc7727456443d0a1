"""Mistakes in a configuration, with their places in the sources, and their display."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pgcli.errors import UsageError

EXCERPT_COLUMNS = 100


@dataclass(frozen=True)
class Mark:
    """A part of one source line, marked by carets."""

    line: int
    column: int
    width: int


@dataclass(frozen=True)
class Place:
    """The place in a source where a value was written.

    Attributes:
      origin: short name of the place, as `config show` prints it.
      where: full name of the place: `my.yaml:7`, or the text of the flag.
      rank: order in which places are reported.
      key: position of the key, or None if there is no text to show.
      value: position of the value.
      lines: the lines of the source.
      numbered: whether the lines belong to a file and have numbers.
    """

    origin: str
    where: str
    rank: tuple[int, ...]
    key: Mark | None = None
    value: Mark | None = None
    lines: tuple[str, ...] = ()
    numbered: bool = True


@dataclass(frozen=True)
class Issue:
    """One mistake: message, place and remedy."""

    message: str
    place: Place | None = None
    mark: Mark | None = None
    help: str | None = None

    @property
    def rank(self) -> tuple[int, ...]:
        """Sort key: sources in the order they apply, then lines and columns."""
        if self.place is None:
            return (9,)
        if self.mark is None:
            return self.place.rank
        return (*self.place.rank[:2], self.mark.line, self.mark.column)

    @property
    def where(self) -> str | None:
        """Name of the place, for the JSON form of the error."""
        return None if self.place is None else self.place.where

    def render(self) -> str:
        """The issue as lines of text: message, place, excerpt with carets, help."""
        lines = [f"error: {printable(self.message)}"]
        if self.place is not None:
            lines += _excerpt(self.place, self.mark)
        if self.help is not None:
            lines.append(f"  help: {printable(self.help)}")
        return "\n".join(lines)


class ConfigError(UsageError):
    """A configuration that cannot be run, with all its mistakes.

    `message`, `where` and `help` are those of the first of its `issues`, in the order
    of the sources and their lines; `render` shows all.
    """

    def __init__(self, issues: Sequence[Issue]) -> None:
        self.issues = tuple(sorted(issues, key=lambda issue: issue.rank))
        first, more = self.issues[0], len(self.issues) - 1
        message = first.message + (f" (and {more} more)" if more else "")
        super().__init__(printable(message), where=first.where, help=first.help)

    def render(self) -> str:
        """All issues as text, separated by blank lines."""
        return "\n\n".join(issue.render() for issue in self.issues)

    def to_list(self) -> list[dict[str, Any]]:
        """The issues as plain data, for `--json`."""
        return [
            {"message": issue.message, "where": issue.where, "help": issue.help}
            for issue in self.issues
        ]


def printable(text: str) -> str:
    """Text without control of a terminal: unprintable characters become `�`."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def _excerpt(place: Place, mark: Mark | None) -> list[str]:
    if mark is None or mark.line >= len(place.lines):
        return [f"  {printable(place.where)}"]

    # the part of the line around the mark, and the carets below it
    source = place.lines[mark.line].replace("\t", " ")
    start = max(0, mark.column - EXCERPT_COLUMNS // 2)
    shown = source[start : start + EXCERPT_COLUMNS]
    column = mark.column - start
    width = max(1, min(mark.width, len(shown) - column))
    before = " " * _columns(shown[:column])
    carets = "^" * max(1, _columns(shown[column : column + width]))
    shown = printable(shown).rstrip()
    if not place.numbered:
        return [f"  {shown}", f"  {before}{carets}"]
    number = str(mark.line + 1)
    gutter = " " * len(number)
    return [
        f"  {printable(place.where)}",
        f"  {number} │ {shown}",
        f"  {gutter} │ {before}{carets}",
    ]


def _columns(text: str) -> int:
    """Terminal columns of a text: 2 for a wide character, 0 for a combining one."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)
