"""The first value of a rollout that no update can use, found in compiled code."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pgcli.arrays.shapes import Array
from pgcli.envs.base import ActionMask, Box, ObsSpace, Space, limits
from pgcli.rollout.types import Transitions

NOT_FINITE, OUTSIDE = "is not finite", "is outside its space"
NO_ACTION = "has no valid action, or values other than 0 and 1"
OUTSIDE_HELP = (
    "correct observation_space, or what is returned; `pgcli envs check` shows values"
)


def fields(space: ObsSpace) -> list[tuple[str, str]]:
    """(field, problem) for each index that `first_fault` returns.

    Of several in one step, the first is reported.
    """
    parts = sorted(space.items()) if isinstance(space, Mapping) else [(None, space)]
    observations = [
        ("observation" if name is None else f"observation[{name!r}]", _problem(part))
        for name, part in parts
    ]
    ends = ("last observation", NOT_FINITE)
    return [("action", NOT_FINITE), ("reward", NOT_FINITE), *observations, ends]


def _problem(part: Space) -> str:
    if isinstance(part, ActionMask):
        return NO_ACTION
    return NOT_FINITE if isinstance(part, Box) else OUTSIDE


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

    def observed(part: Space, x: Array) -> Array:
        bad = bad_parts(part, x, 2)
        if isinstance(part, Box):
            return first(bad, shift=1)
        # rows that were acted on: padding is zero
        return first(bad[:-1] & (transitions.weight > 0), shift=1)

    obs = [observed(part, x) for part, x in leaves_of(space, transitions.obs)]
    last = jnp.where(all_finite(transitions.final_obs), none, none - 1)
    numbers = (transitions.action, transitions.reward)
    places = jnp.stack([*(first(any_bad(x, 2)) for x in numbers), *obs, last])
    # the earliest of the fields
    field = jnp.argmin(places)
    step, column = jnp.divmod(places[field], shape[1])
    field = jnp.where(places[field] < none, field, -1)
    fault: Array = jnp.stack([field, step, column]).astype(jnp.int32)
    return fault


def leaves_of(space: ObsSpace, obs: Any) -> list[tuple[Space, Any]]:
    """(space, values) of each part of an observation, in the order of `fields`."""
    if isinstance(space, Mapping):
        return [(part, obs[name]) for name, part in sorted(space.items())]
    return [(space, obs)]


def any_bad(numbers: Any, axes: int) -> Array:
    """`bad_parts` of an action or a reward, for any part of it: [*B]."""
    each = [bad_parts(None, x, axes) for x in jax.tree.leaves(numbers)]
    return jnp.stack(each).any(axis=0)


def bad_parts(part: Space | None, x: Array, axes: int) -> Array:
    """Whether values [*B, …] are not finite, or no category of their space: [*B].

    `part` is None for actions and rewards; `axes` is the number of batch axes.
    """
    # batch axes, then all elements: [*B, D]
    flat = x.reshape(*x.shape[:axes], -1)
    if part is None or isinstance(part, Box):
        is_float = jnp.issubdtype(x.dtype, jnp.floating)
        bad = ~jnp.isfinite(flat) if is_float else jnp.zeros(flat.shape, bool)
    else:
        low, high = (
            jnp.asarray(np.broadcast_to(bound, part.shape), x.dtype).reshape(
                *(1,) * axes, -1
            )
            for bound in limits(part)
        )
        bad = (flat < low) | (flat > high)
    if isinstance(part, ActionMask):  # each component needs a valid value
        groups = jnp.split(flat, np.cumsum(part.sizes)[:-1], axis=-1)
        none = jnp.stack([(group <= 0).all(axis=-1) for group in groups], axis=-1)
        bad = jnp.concatenate([bad, none], axis=-1)
    return bad.any(axis=-1)


def all_finite(tree: Any) -> Array:
    """Whether all floats of a tree are finite."""
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    every = [jnp.all(jnp.isfinite(x)) for x in leaves]
    return jnp.all(jnp.stack(every)) if every else jnp.array(True)
