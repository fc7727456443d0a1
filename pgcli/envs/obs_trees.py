"""NumPy observations: an array, or a (nested) dictionary of them for a Dict space."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pgcli.envs.base import ObsSpace, Space


def empty_obs(space: ObsSpace, batch: tuple[int, ...]) -> Any:
    """Zeroed buffers for observations, with batch axes in front."""
    if isinstance(space, Space):
        return np.zeros((*batch, *space.shape), space.dtype)
    return {name: empty_obs(part, batch) for name, part in space.items()}


def rows(obs: Any, index: Any) -> Any:
    """`leaf[index]` of every leaf: views if `index` is an integer or a slice."""
    if isinstance(obs, dict):
        return {name: rows(part, index) for name, part in obs.items()}
    return obs[index]


def each_row(obs: Any) -> Iterator[Any]:
    """`rows(obs, i)` for all i in order, faster."""
    if isinstance(obs, dict):
        parts = zip(*map(each_row, obs.values()), strict=True)
        return (dict(zip(obs, row, strict=True)) for row in parts)
    return iter(obs)


def stacked(each: Sequence[Any]) -> Any:
    """The inverse of `each_row`, of at least one row."""
    if isinstance(each[0], dict):
        return {name: stacked([x[name] for x in each]) for name in each[0]}
    return np.array(each)


def set_rows(target: Any, index: Any, obs: Any) -> None:
    """Assigns `obs` to `leaf[index]` of every leaf of `target`."""
    if isinstance(target, dict):
        for name, part in target.items():
            set_rows(part, index, obs[name])
    else:
        target[index] = obs


def copy_obs(obs: Any) -> Any:
    """A copy that the environment cannot overwrite."""
    if isinstance(obs, dict):
        return {name: copy_obs(part) for name, part in obs.items()}
    return np.array(obs)


def all_finite(obs: Any) -> bool:
    """Whether no leaf has an element that is infinite or NaN."""
    if isinstance(obs, dict):
        return all(map(all_finite, obs.values()))
    return obs.dtype.kind != "f" or bool(np.isfinite(obs).all())
