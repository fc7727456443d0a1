"""Members of a run: every combination of a grid with every seed."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgcli.config.schema import RunConfig


@dataclass(frozen=True)
class Member:
    """One of several runs that are trained together.

    Attributes:
      index: index among the members, and along the first axis of their arrays.
      values: values from the grid, by key.
    """

    index: int
    seed: int
    values: Mapping[str, float]

    @property
    def label(self) -> dict[str, Any]:
        """Columns that identify the member's rows."""
        return {"member": self.index, "seed": self.seed, **self.values}

    def __str__(self) -> str:
        texts = [f"seed {self.seed}"]
        return ", ".join(texts + [f"{key} {x:g}" for key, x in self.values.items()])


def cells(config: RunConfig) -> list[dict[str, float]]:
    """All combinations of the grid's values; a single empty one without a grid."""
    keys = list(config.grid)
    return [
        dict(zip(keys, values, strict=True))
        for values in itertools.product(*config.grid.values())
    ]


def members(config: RunConfig) -> list[Member]:
    """All members, ordered by cell, then by seed."""
    pairs = itertools.product(cells(config), range(config.seeds))
    return [
        Member(index, config.seed + offset, values)
        for index, (values, offset) in enumerate(pairs)
    ]


def config_of(config: RunConfig, member: Member) -> RunConfig:
    """The configuration of one member as a separate run."""
    alone = {"seed": member.seed, "seeds": 1, "grid": {}}
    return config.with_values({**alone, **member.values})
