"""Samples taken in blocks whose intermediate results stay in the cache of a core.

A pass over a large batch at once writes every layer's output to memory and reads it
again: on a CPU that costs three times what the arithmetic does. Accelerators take all
at once.
"""

import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pgcli.arrays.shapes import Array

BLOCK = 1024
"""Samples of a block: with two layers of 64 units about a megabyte of results."""


def num_blocks(size: int) -> int:
    """In how many equal blocks `size` samples are taken.

    One where no number of them near the least fits: a rest would be a second program.
    """
    if jax.default_backend() != "cpu":
        return 1
    least = -(-size // BLOCK)
    even = (k for k in range(least, 2 * least) if size % k == 0)
    return next(even, 1)


def num_together(samples: int) -> int:
    """How many runs make a block, each with a minibatch of so many samples."""
    return max(1, BLOCK // samples) if jax.default_backend() == "cpu" else sys.maxsize


def _cut(samples: Any, count: int) -> Any:
    return jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), samples)


def map_blocks(function: Callable[[Any], Any], samples: Any) -> Any:
    """What a function of samples [B, …] gives for all of [S, M, …], in blocks.

    Returns:
      Its results, [S, M, …].
    """
    batch = jax.tree.leaves(samples)[0].shape[:2]
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), samples)
    count = num_blocks(batch[0] * batch[1])
    if count == 1:
        found = function(flat)
    else:
        found = jax.lax.map(function, _cut(flat, count))
        found = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), found)
    return jax.tree.map(lambda x: x.reshape(*batch, *x.shape[1:]), found)


def sum_blocks(function: Callable[[Any], Array], samples: Any) -> Array:
    """The sum over the blocks of samples [B, …] of what a function makes of each."""
    count = num_blocks(jax.tree.leaves(samples)[0].shape[0])
    if count == 1:
        return function(samples)

    def add(total: Array, block: Any) -> tuple[Array, None]:
        return total + function(block), None

    blocks = _cut(samples, count)
    shape = jax.eval_shape(function, jax.tree.map(lambda x: x[0], blocks))
    total: Array = jax.lax.scan(add, jnp.zeros(shape.shape, shape.dtype), blocks)[0]
    return total
