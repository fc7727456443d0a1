"""The first value of a rollout that no update can use, found in compiled code."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pgcli.arrays.shapes import Array
from pgcli.envs.base import Box, ObsSpace, limits
from pgcli.rollout.types import Transitions

NOT_FINITE, OUTSIDE = "is not finite", "is outside its space"
OUTSIDE_HELP = (
    "correct observation_space, or what is returned; `pgcli envs check` shows values"
)


def fields(space: ObsSpace) -> list[tuple[str, str]]:
    """(field, problem) for each index that `first_fault` returns.

    Of several in one step, the first is reported.
    """
    parts = sorted(space.items()) if isinstance(space, Mapping) else [("", space)]
    observations = [
        (
            f"observation[{name!r}]" if name else "observation",
            NOT_FINITE if isinstance(part, Box) else OUTSIDE,
        )
        for name, part in parts
    ]
    ends = ("last observation", NOT_FINITE)
    return [("action", NOT_FINITE), ("reward", NOT_FINITE), *observations, ends]


def first_fault(transitions: Transitions, space: ObsSpace) -> Array:
    """(field, step, column) of the first value that is not finite, as int32.

    Observations of categories are compared with their space, too: a network would see
    none, or that of another part. The field is an index of `fields`, or −1 if there is
    no such value. The step of an observation is the one that returned it, or −1 for a
    reset. A last observation has no step and column, which are only known on its own
    device.
    """
    shape = transitions.reward.shape
    none = 2**31 - 1
    # the last observation of a whole episode is in the last row, whatever its length
    length = jnp.sum(transitions.weight > 0, axis=0, dtype=jnp.int32)

    # smallest step · N + column of a bad value [T, N] or [T + 1, N]
    def first(bad: Array, shift: int = 0) -> Array:
        step = jax.lax.broadcasted_iota(jnp.int32, bad.shape, 0) - shift
        step = jnp.minimum(step, jnp.broadcast_to(length - 1, bad.shape))
        column = jax.lax.broadcasted_iota(jnp.int32, bad.shape, 1)
        return jnp.min(jnp.where(bad, step * shape[1] + column, none))

    def observed(part: Any, x: Array) -> Array:
        if isinstance(part, Box):
            return first(_not_finite(x), shift=1)
        # rows that were acted on: padding is zero
        low, high = (
            jnp.asarray(np.broadcast_to(bound, (1, 1, *part.shape)), x.dtype)
            for bound in limits(part)
        )
        bad = (x[:-1] < low) | (x[:-1] > high)
        bad = bad.reshape(*shape, -1).any(axis=-1) & (transitions.weight > 0)
        return first(bad, shift=1)

    obs = (
        [observed(part, transitions.obs[name]) for name, part in sorted(space.items())]
        if isinstance(space, Mapping)
        else [observed(space, transitions.obs)]
    )
    last = jnp.where(all_finite(transitions.final_obs), none, none - 1)
    acted = first(_not_finite(transitions.action))
    places = jnp.stack([acted, first(_not_finite(transitions.reward)), *obs, last])
    # the earliest of the fields
    field = jnp.argmin(places)
    step, column = jnp.divmod(places[field], shape[1])
    field = jnp.where(places[field] < none, field, -1)
    fault: Array = jnp.stack([field, step, column]).astype(jnp.int32)
    return fault


def _not_finite(x: Array) -> Array:
    """Whether any element is not finite, for each row and column: [T, N]."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return jnp.zeros(x.shape[:2], bool)
    return ~jnp.isfinite(x.reshape(*x.shape[:2], -1)).all(axis=-1)


def all_finite(tree: Any) -> Array:
    """Whether all floats of a tree are finite."""
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    every = [jnp.all(jnp.isfinite(x)) for x in leaves]
    return jnp.all(jnp.stack(every)) if every else jnp.array(True)
