"""Evaluation in blocks of samples whose intermediate results fit a core's cache.

One pass over a large batch writes every layer's output to memory and reads it back. On
a CPU that costs three times as much as the arithmetic. Accelerators evaluate the whole
batch at once.
"""

import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pgcli.arrays.device_mesh import on_cpu
from pgcli.arrays.shapes import Array

BLOCK = 1024
"""Samples per block: about a megabyte of results for two layers of 64 units."""


def num_blocks(size: int) -> int:
    """Number of equal blocks for `size` samples.

    It is 1 if no number near the minimum divides `size`: a remainder would compile a
    second program.
    """
    if not on_cpu():
        return 1
    minimum = -(-size // BLOCK)
    divisors = (k for k in range(minimum, 2 * minimum) if size % k == 0)
    return next(divisors, 1)


def num_together(samples: int) -> int:
    """Number of runs per block, each with a minibatch of `samples` samples."""
    return max(1, BLOCK // samples) if on_cpu() else sys.maxsize


def _cut(samples: Any, count: int) -> Any:
    return jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), samples)


def map_blocks(function: Callable[[Any], Any], samples: Any) -> Any:
    """Results [S, M, …] of a function of samples [B, …], evaluated block by block."""
    batch = jax.tree.leaves(samples)[0].shape[:2]
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), samples)
    count = num_blocks(batch[0] * batch[1])
    if count == 1:
        result = function(flat)
    else:
        result = jax.lax.map(function, _cut(flat, count))
        result = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), result)
    return jax.tree.map(lambda x: x.reshape(*batch, *x.shape[1:]), result)


def sum_blocks(function: Callable[[Any], Array], samples: Any) -> Array:
    """Sum of a function's results over the blocks of samples [B, …]."""
    count = num_blocks(jax.tree.leaves(samples)[0].shape[0])
    if count == 1:
        return function(samples)

    def add(total: Array, block: Any) -> tuple[Array, None]:
        return total + function(block), None

    blocks = _cut(samples, count)
    shape = jax.eval_shape(function, jax.tree.map(lambda x: x[0], blocks))
    total: Array = jax.lax.scan(add, jnp.zeros(shape.shape, shape.dtype), blocks)[0]
    return total
