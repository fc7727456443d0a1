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

from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.checks import IN_NUMPY, complaints
from pgcli.config.errors import ConfigError, Issue
from pgcli.config.fields import fields, sections, suggest, unused
from pgcli.config.issues import Places, dotted, issue_of, place_of
from pgcli.config.layout import default_shards
from pgcli.config.schema import RunConfig
from pgcli.config.source.document import KeyPath

SUGGESTIONS = 50  # mistakes with a suggestion: the search for similar keys is slow

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def validate(
    tree: Mapping[str, Any], algo: str, places: Places, *, check_algo: bool = True
) -> tuple[RunConfig, list[Issue]]:
    """(configuration in a tree, mistakes in it).

    Wrong values are replaced by their defaults, so that the others can be checked.
    `algo` is the algorithm, and not the one in the tree; without `check_algo` it is a
    stand-in, whose keys are not checked.
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


def derive(config: RunConfig) -> RunConfig:
    """The configuration with nulls replaced by values derived from other keys."""
    every = max(1, config.steps // 10)
    # networks whose forward pass is faster in NumPy
    dense = all(getattr(config.network, key) == only for key, only in IN_NUMPY)
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

            # one issue per path, and none below or above it
            if any(path[: len(old)] == old[: len(path)] for old in seen):
                continue
            seen.add(path)
            named = tuple(itertools.takewhile(lambda p: isinstance(p, str), path))
            bad.add(named[:1] if named[:1] == ("grid",) else named)  # the whole grid
            issues.append(
                issue_of(detail, path, algo, places, len(seen) <= SUGGESTIONS)
            )

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
