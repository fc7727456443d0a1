"""The search space in the file of a sweep."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pgcli.config.fields import sections
from pgcli.config.issues import say
from pgcli.config.schema import RunConfig
from pgcli.config.source import yaml_file
from pgcli.config.source.document import Document, KeyPath
from pgcli.suggest import did_you_mean
from pgcli.sweep.space import Dimension, Space, label

RANGES = ("uniform", "log_uniform", "integers")

EXAMPLE = "for example `optimizer.lr: {log_uniform: [1e-4, 1e-2]}`"
FORMS = "a list of values, {choice: …}, {uniform: [low, high]}, {log_uniform: …} or "
FORMS += "{integers: …}"


def complain(
    document: Document,
    message: str,
    path: KeyPath,
    help: str | None,
    mark_key: bool = False,
) -> None:
    """Notes a mistake at a path of the file."""
    keys, values = document.keys.get(path), document.values.get(path)
    mark = keys if mark_key else values or keys
    document.complain(message, mark, help)


class SpaceReader:
    """Reader of the search space; mistakes are noted in the document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._places: list[tuple[Dimension, KeyPath]] = []

    def space(self, tree: Mapping[str, Any]) -> tuple[Space, dict[str, KeyPath]]:
        """The space, and the path of each dimension by its name."""
        if not isinstance(tree.get("space"), Mapping) or not tree["space"]:
            message = "`space` must be a mapping of keys to their values"
            complain(self._document, message, ("space",), EXAMPLE)
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
        complain(self._document, message, path, help)

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
        sets_key = not group or key in RunConfig.__dataclass_fields__
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
