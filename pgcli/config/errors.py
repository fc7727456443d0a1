"""What is wrong with a configuration, where it was written, and how that is shown."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pgcli.errors import UsageError

EXCERPT_COLUMNS = 100


@dataclass(frozen=True)
class Mark:
    """A stretch of one source line: what the carets point at."""

    line: int
    column: int
    width: int


@dataclass(frozen=True)
class Place:
    """Where a value was written.

    Attributes:
      origin: short name of the place, as `config show` prints it.
      where: the place in full: `my.yaml:7`, or the text of the flag.
      rank: order in which places are reported.
      key: where the key stands, or None if there is no text to show.
      value: where the value stands.
      lines: the lines of the source.
      numbered: whether the lines belong to a file and carry numbers.
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
    """One thing wrong: what, where, and what to do."""

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
        """The place in words, for a program that reads the error as JSON."""
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
    """A configuration that cannot be run, with everything that is wrong with it.

    `message`, `where` and `help` are those of the first issue; `render` shows all.

    Attributes:
      issues: everything found, in the order of the sources and their lines.
    """

    def __init__(self, issues: Sequence[Issue]) -> None:
        self.issues = tuple(sorted(issues, key=lambda issue: issue.rank))
        first, more = self.issues[0], len(self.issues) - 1
        message = first.message + (f" (and {more} more)" if more else "")
        super().__init__(printable(message), where=first.where, help=first.help)

    def render(self) -> str:
        """Every issue as text, a blank line between two."""
        return "\n\n".join(issue.render() for issue in self.issues)

    def to_list(self) -> list[dict[str, Any]]:
        """The issues as plain data, for `--json`."""
        return [
            {"message": issue.message, "where": issue.where, "help": issue.help}
            for issue in self.issues
        ]


def printable(text: str) -> str:
    """Text that cannot steer a terminal: one `�` for each unprintable character."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def _excerpt(place: Place, mark: Mark | None) -> list[str]:
    if mark is None or mark.line >= len(place.lines):
        return [f"  {printable(place.where)}"]
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
