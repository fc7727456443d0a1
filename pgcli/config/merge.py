"""The tree merged from all sources, with the place of every path."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.errors import Place
from pgcli.config.fields import MOVED_KEYS, sections
from pgcli.config.issues import dotted, place_of
from pgcli.config.source.command_line import Assignment
from pgcli.config.source.document import Document, KeyPath

ALGORITHM = 0
"""Rank of an algorithm's defaults; those of files and flags are higher."""


@dataclass
class Merged:
    """The tree merged from all sources, and the place of every path."""

    tree: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, Place] = field(default_factory=dict)
    moved: list[str] = field(default_factory=list)

    def add_defaults(self, algo: str) -> None:
        """Adds an algorithm's defaults for the other sections."""
        self.add_values(ALGORITHM_CONFIGS[algo].defaults, f"default of {algo}")

    def add_values(self, values: Mapping[str, Any], origin: str) -> None:
        """Adds defaults by dotted path."""
        for path, value in values.items():
            self.put(tuple(path.split(".")), value, Place(origin, origin, (ALGORITHM,)))

    def add_document(self, document: Document) -> None:
        """Adds the keys of a file; they override earlier ones."""
        for name, value in (document.tree or {}).items():
            if name not in sections():
                self.put((name,), value, document.place((name,)))
            elif isinstance(value, Mapping):
                for key, inner in value.items():
                    self.put((name, key), inner, document.place((name, key)))
            elif value is not None:
                self.put((name,), value, document.place((name,)))
        for path in document.values:
            if any(isinstance(part, int) for part in path) and place_of(
                path, self.places
            ):
                self.places[path] = document.place(path)

    def add_assignment(self, assignment: Assignment) -> None:
        """Adds one key of the command line; it overrides earlier ones."""
        path, value = assignment.path, assignment.value
        if len(path) == 1 and path[0] in sections() and isinstance(value, Mapping):
            for key, inner in value.items():
                self.put((*path, key), inner, assignment.place((key,)))
            return
        self.put(path, value, assignment.place())
        for below in assignment.document.values:
            if below:
                self.places[(*path, *below)] = assignment.place(below)

    def put(self, path: KeyPath, value: Any, place: Place) -> None:
        """Sets one path; a section that is not a mapping stays, to be reported."""
        if (name := dotted(path)) in MOVED_KEYS:
            self.moved.append(f"`{name}` is now `{MOVED_KEYS[name]}`")
            path = tuple(MOVED_KEYS[name].split("."))
        node: Any = self.tree
        for part in path[:-1]:
            if node.get(part) is None:
                node[part] = {}
            node = node[part]
            if not isinstance(node, dict):
                return
        if path[-1] in node:
            for old in [p for p in self.places if p[: len(path)] == path]:
                del self.places[old]
        node[path[-1]] = value
        self.places[path] = place
