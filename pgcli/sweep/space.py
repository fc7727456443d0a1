"""The search space: dimensions, their grid, and random draws from them."""

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pgcli.config.dump import flow

Label = str | int | float | bool | None
"""A value of a dimension in the study: numbers and texts; lists as YAML text."""

Labels = Mapping[str, Label]
"""Labels by the name of their dimension."""

DIGITS = 4
"""Significant digits of random numbers, so that they are short in commands."""


@dataclass(frozen=True)
class Dimension:
    """One dimension of a search space.

    Attributes:
      key: key of the configuration, or the name of a group of keys.
      name: name in the study; unique in the space.
      kind: `choice`, or the distribution of a number.
      values: the values of a choice, or the two ends of a range.
      points: number of grid points of a range; None if the grid is not defined.
      branches: for each value of a choice, the dimensions that exist only with it.
      sets_key: False for the name of a group, which is no key of the configuration.
    """

    key: str
    name: str
    kind: Literal["choice", "uniform", "log_uniform", "integers"]
    values: tuple[Any, ...]
    points: int | None = None
    branches: tuple["Space", ...] = ()
    sets_key: bool = True

    @property
    def labels(self) -> list[Label]:
        """The values of a choice as labels."""
        return [label(value) for value in self.values]

    def branch(self, value: Label) -> "Space":
        """The dimensions that exist with this value."""
        return self.branches[self.labels.index(value)] if self.branches else ()

    def value(self, of: Label) -> Any:
        """The value of the configuration that a label stands for."""
        return self.values[self.labels.index(of)] if self.kind == "choice" else of

    def grid(self) -> list[Label]:
        """All values of a choice; equally spaced ones of a range."""
        if self.kind == "choice":
            return self.labels
        if self.kind == "integers" and self.points is None:
            return [*range(self.values[0], self.values[1] + 1)]
        count = self.points or 2
        shares = [i / max(1, count - 1) for i in range(count)]
        return list(dict.fromkeys(self._at(share) for share in shares))

    def draw(self, generator: random.Random) -> Label:
        """A random value: of a choice, or from the distribution of a range."""
        if self.kind == "choice":
            return self.labels[generator.randrange(len(self.values))]
        if self.kind == "integers":
            return generator.randint(*self.values)
        return self._at(generator.random())

    def _at(self, share: float) -> Label:
        """The value at a share of the way through the range."""
        low, high = map(float, self.values)
        if self.kind == "integers":
            return round(low + share * (high - low))
        if self.kind == "log_uniform":
            low, high = math.log(low), math.log(high)
        value = low + share * (high - low)
        value = math.exp(value) if self.kind == "log_uniform" else value
        low, high = map(float, self.values)
        return min(max(float(f"{value:.{DIGITS}g}"), low), high)


Space = tuple[Dimension, ...]


def label(value: Any) -> Label:
    """The label of a value."""
    if value is None or isinstance(value, str | int | float):
        return value
    return flow(value)


def walk(space: Space) -> Iterator[Dimension]:
    """Every dimension, those of branches included."""
    for dimension in space:
        yield dimension
        for branch in dimension.branches:
            yield from walk(branch)


def active(space: Space, labels: Labels) -> Iterator[tuple[Dimension, Label]]:
    """The dimensions that exist with these labels, each with its label."""
    for dimension in space:
        if dimension.name in labels:
            chosen = labels[dimension.name]
            yield dimension, chosen
            yield from active(dimension.branch(chosen), labels)


def values(space: Space, labels: Labels) -> dict[str, Any]:
    """Values of the configuration by key."""
    return {
        dimension.key: dimension.value(chosen)
        for dimension, chosen in active(space, labels)
        if dimension.sets_key
    }


def grid(space: Space) -> list[dict[str, Label]]:
    """All combinations of the grid, the last dimension changes fastest."""
    columns: list[list[dict[str, Label]]] = [
        [
            {dimension.name: value, **below}
            for value in dimension.grid()
            for below in grid(dimension.branch(value))
        ]
        for dimension in space
    ]
    return [
        {name: x for part in parts for name, x in part.items()}
        for parts in itertools.product(*columns)
    ]


def draw(space: Space, seed: int, number: int) -> dict[str, Label]:
    """Random labels of one trial, determined by the seed and the trial's number."""
    return _draw(space, random.Random(f"{seed}/{number}"))


def _draw(space: Space, generator: random.Random) -> dict[str, Label]:
    labels: dict[str, Label] = {}
    for dimension in space:
        chosen = labels[dimension.name] = dimension.draw(generator)
        labels |= _draw(dimension.branch(chosen), generator)
    return labels


def probes(space: Space) -> Iterator[dict[str, Label]]:
    """Combinations that contain each value and each end of a range at least once.

    All other dimensions have their first value.
    """
    first: dict[str, Label] = {}
    for dimension in space:
        chosen = first[dimension.name] = _ends(dimension)[0]
        first |= next(probes(dimension.branch(chosen)))
    yield first
    for dimension in space:
        inside = {each.name for each in walk((dimension,))}
        others = {name: x for name, x in first.items() if name not in inside}
        for value in _ends(dimension):
            for below in probes(dimension.branch(value)):
                yield {**others, dimension.name: value, **below}


def _ends(dimension: Dimension) -> Sequence[Label]:
    return dimension.labels if dimension.kind == "choice" else dimension.values
