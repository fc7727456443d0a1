"""Members of a run as one program, with the same number on every device.

If the number of members is not divisible by the number of devices, the last member is
repeated. These padding copies are inactive and are dropped from all outputs.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pgcli.arrays import exact_count
from pgcli.arrays.sample_blocks import num_together
from pgcli.arrays.shapes import Array
from pgcli.envs.base import DeviceEnv
from pgcli.training.loops.device_loop import MAX_CHUNK, iterate
from pgcli.training.state import DeviceState
from pgcli.training.step import Knobs, Report, Setup


def run_members(
    setup: Setup,
    env: DeviceEnv,
    knobs: Knobs,
    states: DeviceState,
    run_keys: Array,
    alive: Array,
    budget: Array,
    until: Array,
    max_iterations: Array,
) -> tuple[DeviceState, tuple[Report, Array], Array, Array]:
    """Result of iterating M members until all have used `until` steps.

    A member is updated while it is alive and has used fewer than `until` steps.

    Returns:
      (states, (reports, ran), alive, counts): reports and `ran` are [MAX_CHUNK, M, …],
      of which the first `counts` [M] rows are filled. A member's report in a row is
      valid if the member ran.
    """
    # one iteration of all members; on a CPU in groups that fit its cache
    one = jax.jit(partial(iterate, setup, env, budget=budget))
    samples = setup.columns * setup.num_steps
    samples //= knobs.hyper.algo.num_minibatches
    everyone = in_groups(one, num_together(samples))

    def is_due(states: DeviceState, alive: Array) -> Array:
        short = jax.vmap(lambda steps: exact_count.less(steps, until))(states.run.steps)
        return jnp.logical_and(alive, short)

    def unfinished(carry: Any) -> Array:
        states, _, alive, count = carry
        return jnp.logical_and(count < max_iterations, jnp.any(is_due(states, alive)))

    def body(carry: Any) -> Any:
        states, rows, alive, count = carry
        # iterate all, but keep the old state of members that are done or diverged
        due = is_due(states, alive)
        after, report = everyone(knobs, states, run_keys)
        sound = (report.fault[:, 0] < 0) & report.finite_params
        moved = due & sound

        def choose(new: Array, old: Array) -> Array:
            mask = moved.reshape(-1, *(1,) * (new.ndim - 1))
            return jnp.where(mask, new, old)

        states = jax.tree.map(choose, after, states)
        rows = jax.tree.map(lambda xs, x: xs.at[count].set(x), rows, (report, due))
        return states, rows, alive & (sound | ~due), count + 1

    # loop over rows of reports [MAX_CHUNK, M, …]
    shapes = jax.eval_shape(everyone, knobs, states, run_keys)[1]
    empty = jax.tree.map(
        lambda x: jnp.zeros((MAX_CHUNK, *x.shape), x.dtype), (shapes, alive)
    )
    states, rows, alive, count = jax.lax.while_loop(
        unfinished, body, (states, empty, alive, jnp.int32(0))
    )
    return states, rows, alive, jnp.full(alive.shape, count)


def in_groups(one: Callable[..., Any], most: int) -> Callable[..., Any]:
    """A function of one member as a function of M, at most `most` at a time."""

    def everyone(*args: Any) -> Any:
        # M members in groups of nearly equal size
        count = jax.tree.leaves(args)[0].shape[0]
        groups = -(-count // most)
        size = -(-count // groups)
        if groups == 1:
            return jax.vmap(one)(*args)
        if size == 1:  # with a batch axis of 1, XLA does not use its fast kernels
            return jax.lax.map(lambda x: one(*x), args)

        # [M, …] → [groups, size, …], one group after the other, and back
        cut = jax.tree.map(
            lambda x: x.reshape(groups, size, *x.shape[1:]), fill(args, groups * size)
        )
        result = jax.lax.map(lambda x: jax.vmap(one)(*x), cut)
        return jax.tree.map(
            lambda x: x.reshape(groups * size, *x.shape[2:])[:count], result
        )

    return everyone


def fill(stacked: Any, places: int) -> Any:
    """Arrays [M, …] extended to [places, …] by repeating the last member."""

    def extend(x: Any) -> Any:
        last = x.shape[0] - 1
        return x if last + 1 == places else x[np.minimum(np.arange(places), last)]

    return jax.tree.map(extend, stacked)
