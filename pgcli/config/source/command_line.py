"""Keys set by flags and `--set`, each with the text of the flag as its place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgcli.config.errors import Issue, Mark, Place
from pgcli.config.source import yaml_file
from pgcli.config.source.document import Document, KeyPath

FLAG, SET = 3, 4
"""Ranks of named flags and of `--set`; those of presets and files are lower."""

ENV_KWARGS = 1000
"""Rank of the first `--env-kwargs` among the flags, which are reported last."""


@dataclass(frozen=True)
class Assignment:
    """One key set on the command line."""

    path: KeyPath
    value: Any
    document: Document

    def place(self, below: KeyPath = ()) -> Place:
        """Place of the value, or of its part at the path `below`."""
        document = self.document
        value = document.values.get(below) or document.values.get(())
        return document.at(document.keys.get(()), value)


def from_flags(flags: Mapping[str, Any], issues: list[Issue]) -> list[Assignment]:
    """Keys set by named flags; values of None are ignored."""
    keys: list[Assignment] = []
    for path, (value, spelling) in flags.items():
        if value is None:
            continue
        text = f"{spelling} {value}"
        document = Document(spelling, text, (text,), (FLAG, len(keys)), False, value)
        document.keys[()] = Mark(0, 0, len(spelling))
        document.values[()] = Mark(0, len(spelling) + 1, max(1, len(str(value))))
        if isinstance(value, str) and not _is_unicode(value):
            place = document.place(())
            issues.append(Issue("not valid Unicode text", place, place.value))
            continue
        keys.append(Assignment(tuple(path.split(".")), value, document))
    return keys


def from_sets(sets: Sequence[str], issues: list[Issue]) -> list[Assignment]:
    """Keys set by the `path=value` texts of `--set`."""
    keys = [
        _assignment(text, "--set", (SET, index), (), issues)
        for index, text in enumerate(sets)
    ]
    return [assignment for assignment in keys if assignment is not None]


def from_env_kwargs(texts: Sequence[str], issues: list[Issue]) -> list[Assignment]:
    """Keys of `env.kwargs` set by the texts of `--env-kwargs`.

    A text is `name=value`, or `{name: value, …}` in YAML or JSON for several keys.
    """
    flag, base = "--env-kwargs", ("env", "kwargs")
    keys: list[Assignment | None] = []
    for index, text in enumerate(texts):
        rank = (FLAG, ENV_KWARGS + index)
        if not text.lstrip().startswith("{"):
            keys.append(_assignment(text, flag, rank, base, issues))
            continue
        document = yaml_file.parse_value(text, flag=flag, prefix=f"{flag} ", rank=rank)
        issues += document.issues
        if isinstance(document.tree, Mapping):
            keys += [
                Assignment((*base, str(key)), value, document)
                for key, value in document.tree.items()
            ]
    return [assignment for assignment in keys if assignment is not None]


def _assignment(
    text: str, flag: str, rank: tuple[int, int], base: KeyPath, issues: list[Issue]
) -> Assignment | None:
    """The key below `base` set by `path=value`; None if the text is wrong."""
    name, equals, value = text.partition("=")
    prefix = f"{flag} {name}{equals}"
    key = Mark(0, len(f"{flag} "), max(1, len(name)))
    place = Place(flag, f"{flag} {text}", rank, key, key, (f"{flag} {text}",), False)
    if not equals or not name:
        what, example = ("name", "size=5") if base else ("path", "optimizer.lr=1e-3")
        help = f"write `{flag} {what}=value`, such as `{flag} {example}`"
        issues.append(Issue(f"`{flag}` needs a {what} and a value", place, key, help))
    elif not value.strip():
        help = f"for no value, write `{name}=null`"
        issues.append(Issue(f"no value for `{name}`", place, key, help))
    elif not _is_unicode(text):
        issues.append(Issue("not valid Unicode text", place, key))
    else:
        document = yaml_file.parse_value(value, flag=flag, prefix=prefix, rank=rank)
        document.keys[()] = key
        issues += document.issues
        if not document.issues:
            path = (*base, *name.strip().split("."))
            return Assignment(path, document.tree, document)
    return None


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)
