"""The YAML file of a sweep: its keys, and the search space in it."""

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from pgcli.config.errors import ConfigError, Mark
from pgcli.config.fields import sections
from pgcli.config.issues import say
from pgcli.config.source import presets, yaml_file
from pgcli.config.source.command_line import Assignment
from pgcli.config.source.document import Document, KeyPath
from pgcli.config.source.files import FILE
from pgcli.suggest import did_you_mean
from pgcli.sweep.space import Dimension, Label, Labels, Space, active, label, walk

SAMPLERS = ("grid", "random", "tpe", "gp", "cmaes")
PRUNERS = ("none", "median", "hyperband")
RANGES = ("uniform", "log_uniform", "integers")
KEYS = ("base", "config", "space", "sampler", "pruner", "trials", "hours")

EXAMPLE = "for example `optimizer.lr: {log_uniform: [1e-4, 1e-2]}`"
FORMS = "a list of values, {choice: …}, {uniform: [low, high]}, {log_uniform: …} or "
FORMS += "{integers: …}"


@dataclasses.dataclass(frozen=True)
class SweepFile:
    """A parsed sweep file.

    Attributes:
      path: the file.
      base: file or preset below `config`, or None.
      config: keys of the configuration that all trials share.
      space: the search space.
      places: paths in the file of the keys of `space`, by the name of the dimension.
      sampler: one of `SAMPLERS`.
      pruner: one of `PRUNERS`.
      trials: number of trials, or None.
      hours: time for which trials run, or None.
      document: the text with positions, for messages.
    """

    path: Path
    base: Path | None
    config: tuple[Assignment, ...]
    space: Space
    places: Mapping[str, KeyPath]
    sampler: str
    pruner: str
    trials: int | None
    hours: float | None
    document: Document

    def fail(self, message: str, path: KeyPath, help: str | None = None) -> NoReturn:
        """Raises a mistake at a path of the file."""
        _complain(self.document, message, path, help)
        raise ConfigError(self.document.issues)

    def assignments(self, labels: Labels) -> list[Assignment]:
        """The keys that a trial sets."""
        return [
            Assignment(tuple(dimension.key.split(".")), dimension.value(chosen), part)
            for dimension, chosen in active(self.space, labels)
            if dimension.sets_key
            for part in [self._part(dimension, chosen)]
        ]

    def _part(self, dimension: Dimension, chosen: Label) -> Document:
        """The document of a value of a dimension."""
        document, path = self.document, self.places[dimension.name]
        part = _part(document, path, dimension.value(chosen))
        if dimension.kind == "choice":
            index = dimension.labels.index(chosen)
            text = str(list(_down(document.tree, path, "choice"))[index])
            found = [
                document.values.get((*path, *to, index)) for to in [(), ["choice"]]
            ]
            found += [document.keys.get((*path, "choice", text))]
            mark = next((mark for mark in found if mark), None)
            part.values = {} if mark is None else {(): mark}
        return part


def read(path: Path) -> SweepFile:
    """The sweep in a file.

    Raises:
      ConfigError: it cannot be read, or has mistakes; all of them are listed.
    """
    document = yaml_file.read(path, origin=str(path), where=str(path), rank=(FILE, 1))
    tree = document.tree
    if tree is None:
        if not document.issues:
            document.complain("the file is empty", None, "`space:` is needed")
        raise ConfigError(document.issues)
    for key in tree.keys() - set(KEYS):
        help = did_you_mean(key, KEYS, f"the keys are {', '.join(KEYS)}")
        _complain(document, f"unknown key `{key}`", (key,), help, mark_key=True)
    space, places = _Reader(document).space(tree)
    sweep = SweepFile(
        path=path,
        base=_base(document, tree.get("base"), path.parent),
        config=_config(document, tree.get("config")),
        space=space,
        places=places,
        sampler=_one_of(document, tree, "sampler", SAMPLERS, "tpe"),
        pruner=_one_of(document, tree, "pruner", PRUNERS, "none"),
        trials=_positive(document, tree, "trials", whole=True),
        hours=_positive(document, tree, "hours", whole=False),
        document=document,
    )
    if document.issues:
        raise ConfigError(document.issues)
    if sweep.sampler != "grid" and sweep.trials is None and sweep.hours is None:
        sweep.fail(
            f"the sampler {sweep.sampler} needs a budget",
            ("sampler",),
            "add `trials: 50`, or `hours: 8`",
        )
    return sweep


def _complain(
    document: Document,
    message: str,
    path: KeyPath,
    help: str | None,
    mark_key: bool = False,
) -> None:
    keys, values = document.keys.get(path), document.values.get(path)
    mark = keys if mark_key else values or keys
    document.complain(message, mark, help)


def _down(tree: Any, path: KeyPath, last: str) -> Any:
    """The node at a path, or its value of `last`; a single value as a list."""
    for part in path:
        tree = tree[part]
    tree = tree[last] if isinstance(tree, Mapping) else tree
    return tree if isinstance(tree, Mapping | list) else [tree]


def _part(document: Document, path: KeyPath, value: Any) -> Document:
    """The document of one value of a file, with its positions."""
    values = {
        at[len(path) :]: mark
        for at, mark in document.values.items()
        if at[: len(path)] == path
    }
    keys: dict[KeyPath, Mark] = {(): document.keys[path]}
    return dataclasses.replace(
        document, tree=value, keys=keys, values=values, issues=[]
    )


def _base(document: Document, name: Any, folder: Path) -> Path | None:
    """The file or preset of `base`."""
    if name is None:
        return None
    file = folder / str(name)
    if file.is_file():
        return file
    if not isinstance(name, str) or presets.named(name) is None:
        known = [presets.name_of(path) for path in presets.available()]
        help = "`base: ppo2/CartPole-v1` names a preset; files are looked up next to "
        help = did_you_mean(str(name), known, help + "the sweep file")
        _complain(document, f"there is no preset or file `{name}`", ("base",), help)
    return Path(str(name))


def _config(document: Document, tree: Any) -> tuple[Assignment, ...]:
    """The keys of `config`, nested in sections or dotted."""
    if tree is None:
        return ()
    if not isinstance(tree, Mapping):
        help = "write keys of a run, as in `pgcli config show`"
        _complain(document, "`config` must be a mapping", ("config",), help)
        return ()
    found: list[Assignment] = []
    for key, value in tree.items():
        nested = isinstance(value, Mapping) and key in sections()
        for inner in value if nested else [None]:
            below = () if inner is None else (inner,)
            part = value if inner is None else value[inner]
            at = _part(document, ("config", key, *below), part)
            found.append(Assignment((*key.split("."), *below), part, at))
    return tuple(found)


def _one_of(
    document: Document,
    tree: Mapping[str, Any],
    key: str,
    known: tuple[str, ...],
    default: str,
) -> str:
    value = tree.get(key)
    if value is None:
        return default
    if value not in known:
        names = f"one of {', '.join(known)}"
        help = did_you_mean(str(value), known, names)
        message = f"`{key}` must be {names}, not {say(value)}"
        _complain(document, message, (key,), help if help != names else None)
    return str(value)


def _positive(
    document: Document, tree: Mapping[str, Any], key: str, *, whole: bool
) -> Any:
    value = tree.get(key)
    if value is None:
        return None
    kinds = int if whole else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or not value > 0:
        noun = "a whole number of at least 1" if whole else "a positive number"
        _complain(document, f"`{key}` must be {noun}, not {say(value)}", (key,), None)
    return value


class _Reader:
    """Reader of the search space; mistakes are noted in the document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._places: list[tuple[Dimension, KeyPath]] = []

    def space(self, tree: Mapping[str, Any]) -> tuple[Space, dict[str, KeyPath]]:
        """The space, and the path of each dimension by its name."""
        if not isinstance(tree.get("space"), Mapping) or not tree["space"]:
            message = "`space` must be a mapping of keys to their values"
            _complain(self._document, message, ("space",), EXAMPLE)
            return (), {}
        space = self._space(tree["space"], ("space",), "")
        # a name that occurs in several branches is preceded by its branch
        return space, {each.name: path for each, path in self._places}

    def _space(self, tree: Any, path: KeyPath, branch: str) -> Space:
        if tree is None:
            return ()
        if not isinstance(tree, Mapping):
            self._complain(
                "a branch must be a mapping of keys to values", path, EXAMPLE
            )
            return ()
        found = []
        for key, node in tree.items():
            if (dimension := self._dimension(key, node, (*path, key), branch)) is None:
                continue
            found.append(dimension)
            self._places.append((dimension, (*path, key)))
        return tuple(found)

    def _complain(self, message: str, path: KeyPath, help: str | None) -> None:
        _complain(self._document, message, path, help)

    def _dimension(
        self, key: str, node: Any, path: KeyPath, branch: str
    ) -> Dimension | None:
        name = f"{branch}{key}"
        if not isinstance(node, Mapping):
            listed = node if isinstance(node, list) else [node]
            return self._choice(key, name, listed, path)
        kinds = [kind for kind in ("choice", *RANGES) if kind in node]
        unknown = node.keys() - {"choice", "points", *RANGES}
        if unknown or len(kinds) != 1:
            word = min(unknown, default="")
            help = did_you_mean(word, ("choice", "points", *RANGES), EXAMPLE)
            if key in sections() and word:
                help = f"write dotted keys, such as `{key}.{word}`"
            self._complain(f"`{key}` must be {FORMS}", path, help)
            return None
        [kind] = kinds
        if kind == "choice":
            return self._choice(key, name, node["choice"], (*path, "choice"))
        return self._range(key, name, kind, node, path)

    def _choice(
        self, key: str, name: str, node: Any, path: KeyPath
    ) -> Dimension | None:
        branches: tuple[Space, ...] = ()
        if isinstance(node, Mapping):
            values = [yaml_file.scalar(text) for text in node]
            branches = tuple(
                self._space(inner, (*path, text), f"{key}={text}:")
                for text, inner in node.items()
            )
        else:
            values = node if isinstance(node, list) else [node]
        if not values:
            self._complain(f"`{key}` has no values", path, EXAMPLE)
            return None
        twice = [x for x, n in Counter(map(label, values)).items() if n > 1]
        if twice:
            self._complain(f"`{key}` contains {say(twice[0])} twice", path, None)
            return None
        # a mapping of branches may be a group of keys, with a name that is no key
        group = bool(branches) and "." not in key
        sets_key = not group or key in _plain_keys()
        return Dimension(key, name, "choice", tuple(values), None, branches, sets_key)

    def _range(
        self, key: str, name: str, kind: Any, node: Mapping[str, Any], path: KeyPath
    ) -> Dimension | None:
        ends, points = node[kind], node.get("points")
        real = (int,) if kind == "integers" else (int, float)
        good = isinstance(ends, list) and len(ends) == 2
        good = good and all(
            isinstance(x, real) and not isinstance(x, bool) and math.isfinite(x)
            for x in ends
        )
        lowest = 0 if kind == "log_uniform" else -math.inf
        if not good or not lowest < ends[0] < ends[1]:
            numbers = "whole numbers" if kind == "integers" else "numbers"
            extra = ", both positive" if kind == "log_uniform" else ""
            message = f"`{key}`: `{kind}` must be two {numbers} [low, high]{extra}"
            self._complain(message, (*path, kind), EXAMPLE)
            return None
        if points is not None and (type(points) is not int or points < 2):
            message = f"`{key}`: `points` must be a whole number of at least 2"
            self._complain(message, (*path, "points"), None)
            return None
        cast = int if kind == "integers" else float
        return Dimension(key, name, kind, tuple(map(cast, ends)), points)


def _plain_keys() -> frozenset[str]:
    """Keys of the configuration outside of sections."""
    from pgcli.config.schema import RunConfig

    return frozenset(field.name for field in dataclasses.fields(RunConfig))


def check_grid(sweep: SweepFile) -> None:
    """Checks that the grid is defined.

    Raises:
      ConfigError: a range has no grid points.
    """
    for dimension in walk(sweep.space):
        if dimension.kind in ("uniform", "log_uniform") and dimension.points is None:
            low, high = dimension.values
            sweep.fail(
                f"the sampler grid needs the number of points of `{dimension.key}`",
                sweep.places[dimension.name],
                f"{{{dimension.kind}: [{low:g}, {high:g}], points: 5}}",
            )
