"""Runs side by side: every combination of a grid, with every seed."""

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgcli.config.schema import RunConfig


@dataclass(frozen=True)
class Member:
    """One of the runs side by side.

    Attributes:
      index: its place among them, and along the first axis of their arrays.
      seed: its seed.
      values: what the grid gives it, by key.
    """

    index: int
    seed: int
    values: Mapping[str, float]

    @property
    def label(self) -> dict[str, Any]:
        """What tells its rows apart."""
        return {"member": self.index, "seed": self.seed, **self.values}

    def __str__(self) -> str:
        """Its seed and values, in words."""
        texts = [f"seed {self.seed}"]
        return ", ".join(texts + [f"{key} {x:g}" for key, x in self.values.items()])


def cells(config: RunConfig) -> list[dict[str, float]]:
    """Every combination of the grid's values; one empty one without a grid."""
    keys = list(config.grid)
    return [
        dict(zip(keys, values, strict=True))
        for values in itertools.product(*config.grid.values())
    ]


def members(config: RunConfig) -> list[Member]:
    """The runs side by side: cell after cell, seed after seed."""
    pairs = itertools.product(cells(config), range(config.seeds))
    return [
        Member(index, config.seed + offset, values)
        for index, (values, offset) in enumerate(pairs)
    ]


def config_of(config: RunConfig, member: Member) -> RunConfig:
    """The configuration of a member alone."""
    alone = dataclasses.replace(config, seed=member.seed, seeds=1, grid={})
    for path, value in member.values.items():
        section, key = path.split(".")
        changed = dataclasses.replace(getattr(alone, section), **{key: value})
        alone = dataclasses.replace(alone, **{section: changed})
    return alone
