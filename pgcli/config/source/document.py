"""A parsed source of configuration: plain data and the position of every path."""

from dataclasses import dataclass, field
from typing import Any

from pgcli.config.errors import Issue, Mark, Place

KeyPath = tuple[str | int, ...]

PRESET = "preset "
"""Beginning of the origin of a preset."""


@dataclass
class Document:
    """A parsed source, with the positions of the keys and the values by path.

    Attributes:
      tree: the data; None if the source is empty or cannot be read.
      origin: short name of the source.
      where: full name of the source.
      issues: mistakes in the YAML.
    """

    origin: str
    where: str
    lines: tuple[str, ...]
    rank: tuple[int, ...]
    numbered: bool = True
    tree: Any = None
    keys: dict[KeyPath, Mark] = field(default_factory=dict)
    values: dict[KeyPath, Mark] = field(default_factory=dict)
    issues: list[Issue] = field(default_factory=list)

    @property
    def preset(self) -> str | None:
        """Name of the preset that this is, or None."""
        return self.origin[len(PRESET) :] if self.origin.startswith(PRESET) else None

    def place(self, path: KeyPath) -> Place:
        """The place of a path: its value, and its key or the nearest enclosing key."""
        key = next(
            (
                self.keys[path[:n]]
                for n in range(len(path), -1, -1)
                if path[:n] in self.keys
            ),
            None,
        )
        value = self.values.get(path)
        return self.at(key, value)

    def at(self, key: Mark | None, value: Mark | None = None) -> Place:
        """The place in this source at the given positions of a key and a value."""
        if not self.numbered:
            return Place(
                self.origin, self.where, self.rank, key, value, self.lines, False
            )
        mark = key or value
        suffix = "" if mark is None else f":{mark.line + 1}"
        position = (0, 0) if mark is None else (mark.line, mark.column)
        origin = self.origin if self.preset is not None else self.origin + suffix
        return Place(
            origin, self.where + suffix, (*self.rank, *position), key, value, self.lines
        )

    def complain(self, message: str, mark: Mark | None, help: str | None) -> None:
        """Notes a mistake at a mark."""
        self.issues.append(Issue(message, self.at(mark), mark, help))
