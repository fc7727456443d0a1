"""The keys that flags and `--set` set, each with the text of the flag as its place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgcli.config import yaml_file
from pgcli.config.document import Document, KeyPath
from pgcli.config.errors import Issue, Mark, Place

FLAG, SET = 3, 4
"""Ranks of the two kinds; presets and files come before."""


@dataclass(frozen=True)
class Assignment:
    """One key set on the command line."""

    path: KeyPath
    value: Any
    document: Document

    def place(self, below: KeyPath = ()) -> Place:
        """Where the value, or the part of it at a path below, stands."""
        document = self.document
        value = document.values.get(below) or document.values.get(())
        return document.at(document.keys.get(()), value)


def from_flags(flags: Mapping[str, Any], issues: list[Issue]) -> list[Assignment]:
    """The keys that named flags set; a value of None was not given."""
    found: list[Assignment] = []
    for path, (value, spelling) in flags.items():
        if value is None:
            continue
        text = f"{spelling} {value}"
        document = Document(spelling, text, (text,), (FLAG, len(found)), False, value)
        document.keys[()] = Mark(0, 0, len(spelling))
        document.values[()] = Mark(0, len(spelling) + 1, max(1, len(str(value))))
        if isinstance(value, str) and not _is_unicode(value):
            place = document.place(())
            issues.append(Issue("not valid Unicode text", place, place.value))
            continue
        found.append(Assignment(tuple(path.split(".")), value, document))
    return found


def from_sets(sets: Sequence[str], issues: list[Issue]) -> list[Assignment]:
    """The keys that the `path=value` texts of `--set` set."""
    found: list[Assignment] = []
    for index, text in enumerate(sets):
        name, equals, value = text.partition("=")
        rank, prefix = (SET, index), f"--set {name}{equals}"
        key = Mark(0, len("--set "), max(1, len(name)))
        place = Place(
            "--set", f"--set {text}", rank, key, key, (f"--set {text}",), False
        )
        if not equals or not name:
            help = "write `--set path=value`, such as `--set optimizer.lr=1e-3`"
            issues.append(Issue("`--set` needs a path and a value", place, key, help))
        elif not value.strip():
            help = f"write `{name}=null` if none is meant"
            issues.append(Issue(f"no value for `{name}`", place, key, help))
        elif not _is_unicode(text):
            issues.append(Issue("not valid Unicode text", place, key))
        else:
            document = yaml_file.parse_value(
                value, flag="--set", prefix=prefix, rank=rank
            )
            document.keys[()] = key
            issues += document.issues
            if not document.issues:
                path = tuple(name.strip().split("."))
                found.append(Assignment(path, document.tree, document))
    return found


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)
