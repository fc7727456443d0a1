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


FEW = 8
"""Blocks up to which samples that cannot be divided are evaluated at once."""


def num_blocks(size: int) -> tuple[int, int]:
    """(number of equal blocks, samples left over) for `size` samples.

    Nothing is left over if a number near the minimum divides `size`, or if one block is
    enough: the remainder is a second program to compile.
    """
    minimum = -(-size // BLOCK)
    divisors = (k for k in range(minimum, 2 * minimum) if size % k == 0)
    count = next(divisors, 1) if on_cpu() else 1
    if count > 1 or minimum <= FEW or not on_cpu():
        return count, 0
    return divmod(size, -(-size // minimum))


def num_together(samples: int) -> int:
    """Number of runs per block, each with a minibatch of `samples` samples."""
    return max(1, BLOCK // samples) if on_cpu() else sys.maxsize


def _cut(samples: Any, count: int, rest: int) -> tuple[Any, Any]:
    """(equal blocks, the samples left over) of samples [B, …]."""

    def blocks(x: Array) -> Array:
        head = x[: len(x) - rest] if rest else x
        return head.reshape(count, -1, *x.shape[1:])

    return jax.tree.map(blocks, samples), jax.tree.map(lambda x: x[-rest:], samples)


def map_blocks(function: Callable[[Any], Any], samples: Any) -> Any:
    """Results [S, M, …] of a function of samples [B, …], evaluated block by block."""
    batch = jax.tree.leaves(samples)[0].shape[:2]
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), samples)
    count, rest = num_blocks(batch[0] * batch[1])
    if count == 1:
        result = function(flat)
    else:
        blocks, last = _cut(flat, count, rest)
        result = jax.lax.map(function, blocks)
        result = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), result)
        if rest:
            result = jax.tree.map(lambda *x: jnp.concatenate(x), result, function(last))
    return jax.tree.map(lambda x: x.reshape(*batch, *x.shape[1:]), result)


def sum_blocks(function: Callable[[Any], Array], samples: Any) -> Array:
    """Sum of a function's results over the blocks of samples [B, …]."""
    count, rest = num_blocks(jax.tree.leaves(samples)[0].shape[0])
    if count == 1:
        return function(samples)

    def add(total: Array, block: Any) -> tuple[Array, None]:
        return total + function(block), None

    blocks, last = _cut(samples, count, rest)
    shape = jax.eval_shape(function, jax.tree.map(lambda x: x[0], blocks))
    total: Array = jax.lax.scan(add, jnp.zeros(shape.shape, shape.dtype), blocks)[0]
    return total + function(last) if rest else total
