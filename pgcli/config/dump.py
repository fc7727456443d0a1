"""A configuration as plain data and as YAML text."""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pgcli.config.fields import sections, unused
from pgcli.config.schema import RunConfig

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*(:[A-Za-z0-9_./-]+)*")
_WORDS = {"null", "true", "false"}

DERIVED = "derived"
"""Origin of a value that follows from others."""


def to_mapping(config: RunConfig) -> dict[str, Any]:
    """The configuration as nested dicts, lists and scalars, with all its keys."""
    tree: dict[str, Any] = _plain(dataclasses.asdict(config))
    for path in unused(config.algo.name):
        section, _, key = path.partition(".")
        del tree[section][key]
    return tree


def flat(config: RunConfig) -> dict[str, Any]:
    """Every key of a configuration by its dotted path."""
    values: dict[str, Any] = {}
    for name, value in vars(config).items():
        if dataclasses.is_dataclass(value):
            values |= {f"{name}.{key}": inner for key, inner in vars(value).items()}
        else:
            values[name] = value
    return values


def differences(a: RunConfig, b: RunConfig) -> Iterator[tuple[str, str, str]]:
    """(key, value in `a`, value in `b`) of the keys that differ, as YAML."""
    before, after = flat(a), flat(b)
    for key in {**before, **after}:
        if before.get(key) != after.get(key):
            yield key, flow(before.get(key)), flow(after.get(key))


def to_yaml(config: RunConfig, origins: Mapping[str, str] | None = None) -> str:
    """The configuration as YAML, one key per line; `resolve` reads it back.

    Origins of the keys by dotted path are comments. Derived values are comments
    themselves, so that a file for another budget derives its own.
    """
    rows = list(rows_of(to_mapping(config)))
    if origins is None:
        return "".join(f"{text}\n" for _, text in rows)
    for i, (path, text) in enumerate(rows):
        if origins.get(path) == DERIVED:
            indent = len(text) - len(text.lstrip())
            rows[i] = path, f"{text[:indent]}# {text[indent:]}"
    width = max(len(text) for path, text in rows if path in origins) + 2
    return "".join(
        f"{text:{width}}# {origins[path]}\n" if path in origins else f"{text}\n"
        for path, text in rows
    )


def rows_of(tree: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(dotted path, line of YAML) for a tree of sections and keys."""
    for name, value in tree.items():
        if not isinstance(value, dict) or name not in sections():
            yield name, f"{name}: {flow(value)}"
            continue
        yield name, f"{name}:"
        for key, inner in value.items():
            yield f"{name}.{key}", f"  {key}: {flow(inner)}"


def flow(value: Any) -> str:
    """A value on one line of YAML 1.2."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float():
            text = repr(value)
            return {"nan": ".nan", "inf": ".inf", "-inf": "-.inf"}.get(text, text)
        case str():
            return _text(value)
        case Mapping():
            inner = ", ".join(f"{_text(str(k))}: {flow(v)}" for k, v in value.items())
            return f"{{{inner}}}"
        case list() | tuple():
            return f"[{', '.join(map(flow, value))}]"
    return str(value)


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else _escape(c) for c in quoted)


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
