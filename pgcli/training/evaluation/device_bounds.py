"""Observations outside of their bounds in an evaluation on the device.

The extremes of each element are kept for every episode, which takes two comparisons per
step; the value that is farthest outside follows from them at the end.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from pgcli.arrays.shapes import Array
from pgcli.envs.base import ObsSpace
from pgcli.rollout.bounds import bounded, flat_bounds, merged


class SeenPart(NamedTuple):
    """Extremes of a part of the observations acted on, in each of E episodes."""

    low: Array  # [E, D]
    high: Array  # [E, D]
    steps: Array  # [E]: steps with a value outside


Seen = dict[str, SeenPart]
"""For each Box with bounds (`bounds.bounded`)."""


def nothing_seen(space: ObsSpace, episodes: int) -> Seen:
    """The state before the first step of E episodes."""
    seen = {}
    for name, part in bounded(space).items():
        empty = jnp.full((episodes, math.prod(part.shape)), jnp.inf)
        seen[name] = SeenPart(empty, -empty, jnp.zeros(episodes, jnp.int32))
    return seen


def look(space: ObsSpace, seen: Seen, obs: Any, over: Array) -> Seen:
    """The state after acting on observations [E, …]; episodes that are over keep it."""
    after = {}
    for name, part in bounded(space).items():
        before, ended = seen[name], over[:, None]
        x = (obs[name] if name else obs).reshape(len(over), -1).astype(jnp.float32)
        low, high = (bound[None] for bound in flat_bounds(part))
        stray = jnp.any((x < low) | (x > high), axis=-1) & ~over
        after[name] = SeenPart(
            jnp.where(ended, before.low, jnp.minimum(before.low, x)),
            jnp.where(ended, before.high, jnp.maximum(before.high, x)),
            before.steps + stray.astype(jnp.int32),
        )
    return after


def farthest(space: ObsSpace, seen: Seen, lengths: Array) -> Array:
    """Rows as of `bounds.outside` for each of E episodes: [P, 4, E]."""
    rows = []
    for name, part in bounded(space).items():
        # the element that is farthest outside: [E]
        each, (low, high) = seen[name], flat_bounds(part)
        below, above = low[None] - each.low, each.high - high[None]
        at = jnp.argmax(jnp.maximum(below, above), axis=-1)
        value = jnp.where(below > above, each.low, each.high)
        value = jnp.take_along_axis(value, at[:, None], axis=-1)[:, 0]
        share = each.steps / jnp.maximum(lengths, 1)
        bounds = (jnp.asarray(bound)[at] for bound in (low, high))
        rows.append(jnp.stack([share.astype(jnp.float32), value, *bounds]))
    return jnp.stack(rows) if rows else jnp.zeros((0, 4, len(lengths)))


def strays(outside: np.ndarray, lengths: np.ndarray) -> np.ndarray | None:
    """`farthest` of all episodes together, as from `bounds.merged`."""
    total = max(float(lengths.sum()), 1.0)
    return merged(np.moveaxis(outside, -1, 0), lengths, total)
