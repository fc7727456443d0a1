"""Validation of a plain tree: a `RunConfig` and all mistakes.

pydantic validates the frozen dataclasses strictly: a text is not a number, true is not
an integer, an integer is a valid float, NaN is not. Its errors are rewritten as ours.
"""

import dataclasses
import itertools
import json
import math
import struct
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from pgcli import versions
from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.bounds import AtMost
from pgcli.config.checks import complaints
from pgcli.config.errors import ConfigError, Issue, Place
from pgcli.config.fields import Kind, fields, sections, suggest, unused
from pgcli.config.layout import default_shards
from pgcli.config.schema import RunConfig
from pgcli.config.source.document import KeyPath
from pgcli.suggest import did_you_mean

SUGGESTIONS = 50  # mistakes with a suggestion: the search for similar keys is slow

Places = Mapping[KeyPath, Place]

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def validate(
    tree: Mapping[str, Any], algo: str, places: Places, *, check_algo: bool = True
) -> tuple[RunConfig, list[Issue]]:
    """(configuration in a tree, mistakes in it).

    Wrong values are replaced by their defaults, so that the others can be checked.

    Args:
      tree: sections and keys; `algo.name` is ignored.
      algo: the algorithm, one of `ALGORITHM_CONFIGS`.
      places: place of each path.
      check_algo: False if the algorithm is a stand-in and its keys are not checked.
    """
    # every section except `algo`, then `algo`
    issues: list[Issue] = []
    bad: set[KeyPath] = set() if check_algo else {("algo",)}
    rest = {key: value for key, value in tree.items() if key != "algo"}
    if check_algo:
        issues += _unused_keys(rest, algo, places)
    config = _checked(RunConfig, rest, (), algo, places, issues, bad)
    section = tree.get("algo", {})
    if isinstance(section, Mapping):
        section = {**section, "name": algo}
    cls = ALGORITHM_CONFIGS[algo]
    config = dataclasses.replace(
        config, algo=_checked(cls, section, ("algo",), algo, places, issues, bad)
    )

    # checks of several keys together
    issues += _cross_checks(config, bad, places)
    if not issues:
        issues += _grid_issues(config, places)
    return derive(config), issues


def _grid_issues(config: RunConfig, places: Places) -> Iterator[Issue]:
    """Mistakes in the grid: in its keys, or in a value for its key."""
    known = fields(config.algo.name)
    for key, values in config.grid.items():
        place = place_of(("grid", key), places)
        section, _, name = key.partition(".")
        if key not in known or known[key].kind.base is not float or not name:
            help = suggest(key, config.algo.name) if key not in known else None
            yield Issue(
                f"`grid`: `{key}` is not a number that can differ between members",
                place,
                None,
                help
                or "floating-point numbers of algo, optimizer and normalize can; "
                "integers cannot, because they determine the compiled program",
            )
            continue
        if len(set(values)) < len(values) or not values:
            problem = "contains a value twice" if values else "contains no value"
            yield Issue(f"`grid.{key}` {problem}", place, None, None)

        # each value in its section, alone and together with other keys
        part = getattr(config, section)
        plain = {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
        for value in values:
            try:
                text, rounded = (
                    json.dumps({**plain, name: number})
                    for number in (value, _as_float32(value))
                )
                changed = adapter(part.__class__).validate_json(text)
                adapter(part.__class__).validate_json(rounded)
            except ValidationError:
                expected = known[key].kind.expected
                yield Issue(
                    f"`grid.{key}` must be {expected}, not {value:g}", place, None, None
                )
                continue
            whole = dataclasses.replace(config, **{section: changed})
            for _, message, help in complaints(whole):
                yield Issue(f"`grid.{key}` {value:g}: {message}", place, None, help)


def _unused_keys(tree: Mapping[str, Any], algo: str, places: Places) -> Iterator[Issue]:
    """Mistakes for keys of the schema that this algorithm does not use."""
    for name in sorted(unused(algo)):
        section, _, key = name.partition(".")
        inner = tree.get(section)
        if isinstance(inner, Mapping) and key in inner:
            place = place_of((section, key), places)
            mark = None if place is None else place.key
            yield Issue(f"unknown key `{name}`", place, mark, suggest(name, algo))


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


def derive(config: RunConfig) -> RunConfig:
    """The configuration with nulls replaced by values derived from other keys."""
    every, network = max(1, config.steps // 10), config.network
    dense = network.torso == "mlp" and network.dtype == "float32"
    derived = {
        "eval.every": every,
        "checkpoint.every": every,
        "host.vectorizer": config.env.default_vectorizer,
        "host.act": "numpy" if dense else "jit",
        "parallel.shards": default_shards(config),
    }
    missing = {key: x for key, x in derived.items() if config.value(key) is None}
    return config.with_values({**missing, "algo": config.algo.derived()})


def _as_float32(tree: Any) -> Any:
    """A tree with its floats as training uses them; subnormal numbers are 0 there."""
    if isinstance(tree, Mapping):
        return {key: _as_float32(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_as_float32(value) for value in tree]
    if not isinstance(tree, float):
        return tree
    try:
        rounded: float = struct.unpack("f", struct.pack("f", tree))[0]
    except OverflowError:
        return math.copysign(math.inf, tree)
    return rounded if abs(rounded) >= 2.0**-126 else 0.0


@cache
def adapter(cls: type) -> TypeAdapter[Any]:
    """The strict validator of one of our dataclasses."""
    for each in (cls, *get_type_hints(cls).values()):
        if dataclasses.is_dataclass(each) and isinstance(each, type):
            each.__pydantic_config__ = _STRICT  # type: ignore[attr-defined]
    return TypeAdapter(cls)


def _checked(
    cls: type,
    tree: Any,
    prefix: KeyPath,
    algo: str,
    places: Places,
    issues: list[Issue],
    bad: set[KeyPath],
) -> Any:
    """An instance of `cls`; wrong values are noted and replaced by their defaults."""
    seen: set[KeyPath] = set()
    try:
        # as JSON, because strict validation accepts a list for a tuple only there;
        # also as float32, which may reach or exceed a bound
        checked = adapter(cls).validate_json(json.dumps(tree))
        adapter(cls).validate_json(json.dumps(_as_float32(tree)))
        return checked
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_context=False):
            path = _of_field((*prefix, *detail["loc"]), algo)
            if detail["type"] == "json_invalid":
                message = f"not plain data: {detail['msg']}"
                raise ConfigError([Issue(message, place_of(prefix, places))]) from error

            # one issue per path, and none below it
            if any(path[:count] in seen for count in range(1, len(path) + 1)):
                continue
            seen.add(path)
            named = tuple(itertools.takewhile(lambda p: isinstance(p, str), path))
            bad.add(named[:1] if named[:1] == ("grid",) else named)  # the whole grid
            issues.append(_issue(detail, path, algo, places, len(seen) <= SUGGESTIONS))

        # once more without the wrong values
        kept = _without(tree, prefix, bad)
    return adapter(cls).validate_json(json.dumps(kept))


def _of_field(path: KeyPath, algo: str) -> KeyPath:
    """A path without pydantic's suffix for the alternatives of one key."""
    for count in range(1, len(path)):
        field = fields(algo).get(dotted(path[:count]))
        if field is not None and field.kind.base in (bool, int, float, str):
            return path[:count]
    return path


def _without(tree: Any, prefix: KeyPath, bad: set[KeyPath]) -> Any:
    """A tree without the bad keys; a list is removed as a whole."""
    if prefix in bad or not isinstance(tree, Mapping):
        return {}
    kept = {}
    for key, value in tree.items():
        path = (*prefix, key)
        if path in bad:
            continue
        kept[key] = (
            _without(value, path, bad)
            if path == (key,) and key in sections()
            else value
        )
    return kept


def _issue(
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
    """Whether a number is above a technical bound."""
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


def _cross_checks(
    config: RunConfig, bad: set[KeyPath], places: Places
) -> Iterator[Issue]:
    """Mistakes in combinations of keys, unless one of the keys is bad itself."""
    for keys, message, help in complaints(config):
        if any(key[:1] in bad or key[:2] in bad for key in keys):
            continue
        known = [place for key in keys if (place := place_of(key, places))]
        place = max(known, key=lambda p: p.rank[:2], default=None)
        mark = None if place is None else place.value or place.key
        yield Issue(message, place, mark, help)
