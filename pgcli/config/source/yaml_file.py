"""Strict YAML 1.2: plain data with the line and column of every key.

`3e-4` is a number, `no` is a text, `100_000` is an integer. Tags, anchors, aliases,
merge keys and duplicate keys are refused, so that every value is written out once.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from ruamel.yaml.reader import ReaderError

from pgcli.config.errors import Issue, Mark, Place
from pgcli.config.source.document import Document, KeyPath

MAX_BYTES = 64 * 1024
MAX_DEPTH = 16
MAX_DIGITS = 1000

_INTEGER = re.compile(r"[-+]?[0-9]+(_[0-9]+)*")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(_[0-9]+)*(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **{
        sign + word: float(sign + "inf")
        for sign in ("", "+", "-")
        for word in (".inf", ".Inf", ".INF")
    },
}
_REFUSED = object()


def read(path: Path, *, origin: str, where: str, rank: tuple[int, int]) -> Document:
    """The parsed file; its `issues` include a file that cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return _unreadable(f"cannot read {where}: {reason}", origin, where, rank)
    if len(data) > MAX_BYTES:
        message = f"{where} is larger than {MAX_BYTES // 1024} KiB"
        return _unreadable(message, origin, where, rank)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{where} is not UTF-8 text (byte {error.start})"
        return _unreadable(message, origin, where, rank)
    return parse(text, origin=origin, where=where, rank=rank)


def parse(text: str, *, origin: str, where: str, rank: tuple[int, ...]) -> Document:
    """The mapping in a YAML text, with positions."""
    lines = tuple(re.split(r"\r\n|[\r\n\x85\u2028\u2029]", text))
    document = Document(origin, where, lines, rank)
    _Builder(document).run(text)
    if document.tree is not None and not isinstance(document.tree, dict):
        document.complain(
            "the configuration must be a mapping of keys to values",
            document.values.get(()),
            "write `key: value` lines, such as `steps: 100_000`",
        )
        document.tree = None
    return document


def parse_value(
    text: str, *, flag: str, prefix: str, rank: tuple[int, ...]
) -> Document:
    """The value `text` of a flag; `prefix` is the part of the flag before it."""
    document = Document(flag, prefix + text, (prefix + text,), rank, numbered=False)
    _Builder(document, offset=len(prefix)).run(text)
    return document


def scalar(text: str) -> Any:
    """The value of a plain scalar in YAML 1.2, with `_` allowed between digits."""
    if text in _SPECIAL:
        return _SPECIAL[text]
    if _INTEGER.fullmatch(text) and len(text) <= MAX_DIGITS:
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _unreadable(
    message: str, origin: str, where: str, rank: tuple[int, int]
) -> Document:
    document = Document(origin, where, (), rank)
    document.issues.append(Issue(message, Place(origin, where, rank)))
    return document


class _Syntax(Exception):  # noqa: N818 - never leaves this module
    """Stops the parsing; the issue is already noted."""


class _Builder:
    """A builder of plain data and positions from the events of a YAML parser."""

    def __init__(self, document: Document, offset: int = 0) -> None:
        self.document = document
        self.offset = offset
        self.events: Iterator[Any] = iter(())

    def run(self, text: str) -> None:
        """Fills the document's tree; a syntax error leaves it None."""
        document = self.document
        parser = YAML(typ="safe", pure=True)
        try:
            self.events = iter(parser.parse(text))
            for event in self.events:
                if isinstance(event, DocumentStartEvent):
                    tree = self.node(next(self.events), ())
                    document.tree = None if tree is _REFUSED else tree
                    self.end()
                    return

        # each kind of error, at its position in the text
        except MarkedYAMLError as error:
            problem = error.problem_mark or error.context_mark
            mark = None if problem is None else self.clip(problem.line, problem.column)
            reason = error.problem or error.context or "cannot be parsed"
            help = "indent with spaces, not tabs" if r"'\t'" in reason else None
            document.complain(f"not valid YAML: {reason}", mark, help)
            document.tree = None
        except ReaderError as error:
            before = text[: int(error.position)].splitlines() or [""]
            mark = self.clip(len(before) - 1, len(before[-1]))
            message = "not valid YAML: a control character is not allowed here"
            document.complain(message, mark, "remove it, or write it as an escape")
            document.tree = None
        except (YAMLError, ValueError, OverflowError) as error:
            document.complain(f"not valid YAML: {error}".splitlines()[0], None, None)
            document.tree = None
        except _Syntax:
            document.tree = None

    def end(self) -> None:
        """Refuses a second document."""
        for event in self.events:
            if isinstance(event, DocumentStartEvent):
                message = "more than one YAML document"
                self.stop(message, event, "keep one; remove the `---` between them")
            if isinstance(event, StreamEndEvent):
                return

    def node(self, event: Any, path: KeyPath) -> Any:
        """The data that begins at an event, or `_REFUSED`."""
        mark = self.mark(event)
        self.document.values[path] = mark
        if len(path) > MAX_DEPTH:
            self.stop(f"nested more than {MAX_DEPTH} deep", event, None)
        if isinstance(event, AliasEvent):
            self.document.complain(
                f"aliases (`*{event.anchor}`) are not allowed",
                mark,
                "write the value out",
            )
            return _REFUSED
        refused = self.refuse(event, mark)
        value: Any
        if isinstance(event, MappingStartEvent):
            value = self.mapping(path)
        elif isinstance(event, SequenceStartEvent):
            value = self.sequence(path)
        else:
            value = self.text(event, mark)
        return _REFUSED if refused else value

    def refuse(self, event: Any, mark: Mark) -> bool:
        """Whether a node has a tag or an anchor; if so, that is noted as an issue."""
        if event.ctag is not None:
            help = "write the value alone; its type follows from the key"
            self.document.complain("tags (`!…`) are not allowed", mark, help)
            return True
        if event.anchor is not None:
            help = "write the value at each place where it is used"
            message = f"anchors (`&{event.anchor}`) are not allowed"
            self.document.complain(message, mark, help)
            return True
        return False

    def text(self, event: ScalarEvent, mark: Mark) -> Any:
        """The value of a scalar: typed if it is plain, text if it is quoted."""
        text: str = event.value
        if any("\ud800" <= char <= "\udfff" for char in text):
            self.document.complain("not valid Unicode text", mark, None)
            return _REFUSED
        return scalar(text) if event.implicit[0] else text

    def mapping(self, path: KeyPath) -> dict[str, Any]:
        """Keys and values up to the end of a mapping."""
        tree: dict[str, Any] = {}
        seen: dict[str, Mark] = {}
        for event in self.events:
            if isinstance(event, MappingEndEvent):
                break

            # the key
            mark = self.mark(event)
            if not isinstance(event, ScalarEvent):
                self.stop("a key must be a plain word", event, None)
            key, place = str(event.value), (*path, str(event.value))
            ok = not self.refuse(event, mark) and self.text(event, mark) is not _REFUSED
            if key == "<<" and event.implicit[0]:
                help = "write the keys out"
                self.document.complain("merge keys (`<<`) are not allowed", mark, help)
                ok = False
            if key in seen:
                self.duplicate(place, mark, seen[key])
            seen.setdefault(key, mark)

            # the value; that of a refused key is parsed for its own mistakes
            if ok:
                self.document.keys[place] = mark
            else:
                place = (*path, "\0", key)
            value = self.node(next(self.events), place)
            if ok and value is not _REFUSED:
                if isinstance(value, dict) and isinstance(tree.get(key), dict):
                    value = {**tree[key], **value}
                tree[key] = value
        return tree

    def duplicate(self, path: KeyPath, mark: Mark, first: Mark) -> None:
        """Notes a duplicate key; both values are read, to report all mistakes."""
        help = f"line {first.line + 1} also sets it; keep one of them"
        if not self.document.numbered:
            help = "keep one of them"
        message = f"duplicate key `{'.'.join(map(str, path))}`"
        self.document.complain(message, mark, help)

    def sequence(self, path: KeyPath) -> list[Any]:
        """Items up to the end of a sequence."""
        items: list[Any] = []
        for event in self.events:
            if isinstance(event, SequenceEndEvent):
                break
            value = self.node(event, (*path, len(items)))
            if value is not _REFUSED:
                items.append(value)
        return items

    def stop(self, message: str, event: Any, help: str | None) -> None:
        """Notes an issue and skips the rest of the text."""
        self.document.complain(message, self.mark(event), help)
        raise _Syntax

    def mark(self, event: Any) -> Mark:
        """Position of an event, up to the end of its first line."""
        start, end = event.start_mark, event.end_mark
        mark = self.clip(start.line, start.column)
        if end.line == start.line:
            return Mark(mark.line, mark.column, max(1, end.column - start.column))
        rest = self.document.lines[mark.line][mark.column :].rstrip()
        return Mark(mark.line, mark.column, max(1, len(rest)))

    def clip(self, line: int, column: int) -> Mark:
        """A mark inside the source, shifted by the length of the flag."""
        line = min(line, len(self.document.lines) - 1)
        column += self.offset if line == 0 else 0
        return Mark(line, min(column, len(self.document.lines[line])), 1)
