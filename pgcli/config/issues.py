"""The issues of a configuration in words: message, place and remedy."""

from collections.abc import Mapping
from typing import Any

from pgcli import versions
from pgcli.config.bounds import AtMost
from pgcli.config.errors import Issue, Place
from pgcli.config.fields import Kind, fields, sections, suggest
from pgcli.config.source.document import KeyPath
from pgcli.suggest import did_you_mean

Places = Mapping[KeyPath, Place]


def place_of(path: KeyPath, places: Places) -> Place | None:
    """Place of a path, or else of the nearest enclosing path."""
    for count in range(len(path), 0, -1):
        if path[:count] in places:
            return places[path[:count]]
    return None


def dotted(path: KeyPath) -> str:
    """A path as text: `network.hidden[1]`."""
    return "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in path
    ).lstrip(".")


def issue_of(
    detail: Any, path: KeyPath, algo: str, places: Places, suggesting: bool
) -> Issue:
    """The issue for one of pydantic's errors."""
    # an unknown key
    place = place_of(path, places)
    if detail["type"] in versions.PYDANTIC_UNKNOWN_KEY:
        mark = None if place is None else place.key
        name = dotted(path)
        help = _short(name, algo, place) if suggesting else None
        return Issue(f"unknown key `{name}`", place, mark, help)

    # a section or a grid of the wrong form
    mark = None if place is None else place.value or place.key
    value = detail["input"]
    if len(path) == 1 and path[0] in sections():
        return section_issue(str(path[0]), value, place, algo)
    if path[0] == "grid" and len(path) > 1:
        message = f"`grid`: `{path[1]}` must be a list of numbers; got {say(value)}"
        return Issue(message, place, mark, "such as `{optimizer.lr: [1e-4, 1e-3]}`")

    # a value of the wrong type or out of bounds
    field = fields(algo)[dotted(tuple(p for p in path if isinstance(p, str)))]
    kind = field.kind
    if isinstance(path[-1], int) and kind.item is not None:
        kind = kind.item
    limit = kind.limit
    if limit is not None and _exceeds(value, limit):
        most = f"between ±{limit.value:g}" if limit.both_sides else f"at most {limit}"
        message = f"`{dotted(path)}` must be {most}, not {say(value)}"
        return Issue(message, place, mark, limit.reason)
    message = f"`{dotted(path)}` must be {kind.expected}, not {say(value)}"
    return Issue(message, place, mark, _remedy(value, kind) or field.doc)


def _exceeds(value: Any, limit: AtMost) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (abs(value) if limit.both_sides else value) > limit.value


def section_issue(name: str, value: Any, place: Place | None, algo: str) -> Issue:
    """The issue for a section with a value instead of keys."""
    message = f"`{name}` must be a section with keys of its own, not {say(value)}"
    first = next(key for key in fields(algo) if key.startswith(f"{name}."))
    help = f"write `{name}: {{{first.partition('.')[2]}: …}}`"
    mark = None if place is None else place.value or place.key
    return Issue(message, place, mark, help)


def _short(name: str, algo: str, place: Place | None) -> str | None:
    """The suggestion; in a file, keys of the same section are shown without it."""
    help = suggest(name, algo)
    section = name.rpartition(".")[0]
    if help is None or place is None or not place.numbered or not section:
        return help
    return help.replace(f"did you mean `{section}.", "did you mean `")


def say(value: Any) -> str:
    """A value in words, as the user would write it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return f'the text "{value[:40]}{"…" if len(value) > 40 else ""}"'
        case int() if abs(value) >= 10**20:
            return f"{float(value):.3g}" if abs(value) < 10**300 else "a huge number"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
    return str(value)


def _remedy(value: Any, kind: Kind) -> str | None:
    """A remedy for a value that `kind` does not accept; None without a guess."""
    if kind.choices and isinstance(value, str):
        return did_you_mean(value, kind.choices, None)
    if kind.item is not None and isinstance(value, str | int | float):
        return f"write it as a list: [{value}]"
    if kind.base is int and isinstance(value, float) and value.is_integer():
        return f"write it as an integer: {int(value)}" if abs(value) < 2**53 else None
    if kind.base in (int, float) and isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return None
        return (
            None
            if value.strip(" +-").isalpha()
            else f"write it without quotes: {value}"
        )
    if kind.base is bool and isinstance(value, str | int):
        word = {"yes": "true", "on": "true", "1": "true"}
        word |= {"no": "false", "off": "false", "0": "false"}
        hit = word.get(str(value).lower())
        return f"write `{hit}`" if hit else None
    return None
