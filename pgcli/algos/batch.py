"""Batches: the layout of samples, and how it is split into minibatches.

A batch is kept as S rows and shuffled within each, so that devices that hold whole
rows never exchange samples: leaves are [S, B/S, …]. For a recurrent policy a sample is
the whole sequence of an environment: B = N, and leaves are [S, N/S, T, …].
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from pgcli.algos.advantage import moments
from pgcli.arrays.device_mesh import EVERYWHERE, ROWS, per_device
from pgcli.arrays.sample_blocks import map_blocks
from pgcli.arrays.shapes import Array, Float, Int, Key
from pgcli.nn.policy import Params
from pgcli.rollout.types import PolicyOutputs, Rollout, Samples, shared_fields


class Batch(PolicyOutputs, Samples, kw_only=True):
    """Samples to learn from; all leaves share their first two axes."""

    advantage: Array  # Ψ or Â: the weight of each sample's ∇log π
    return_: Any  # R̂: the critic's target; None without a critic

    @property
    def recurrent(self) -> bool:
        """Whether samples must stay in their sequences."""
        return bool(jax.tree.leaves(self.first_carry))


def make_batch(
    rollout: Rollout,
    advantage: Float[Array, "T N"],
    return_: Float[Array, "T N"] | None,
    shards: int,
) -> Batch:
    """The rollout's samples with their advantages, in S rows."""
    fields = shared_fields(rollout, Samples, PolicyOutputs)
    batch = Batch(**fields, advantage=advantage, return_=return_)

    def to_rows(x: Array) -> Array:
        num_steps, num_envs = x.shape[:2]
        # [T, N, …] -> [T, S, N/S, …] -> [S, T, N/S, …] -> [S, B/S, …]
        rows = x.reshape(num_steps, shards, num_envs // shards, *x.shape[2:])
        return jnp.moveaxis(rows, 1, 0).reshape(
            shards, num_steps * num_envs // shards, *x.shape[2:]
        )

    def to_sequences(x: Array) -> Array:
        # [T, N, …] -> [N, T, …] -> [S, N/S, T, …]
        return by_row(jnp.moveaxis(x, 1, 0))

    def by_row(x: Array) -> Array:
        return x.reshape(shards, x.shape[0] // shards, *x.shape[1:])

    if not batch.recurrent:
        rows: Batch = jax.tree.map(to_rows, batch)
        return rows
    sequences = jax.tree.map(to_sequences, batch.replace(first_carry=()))
    carry = jax.tree.map(by_row, batch.first_carry)
    together: Batch = sequences.replace(first_carry=carry)
    return together


def in_one_axis(batch: Batch) -> Batch:
    """A batch of samples [S, B/S, …] as [B, …].

    With one batch axis the gradient of a dense layer is a plain matrix product. With
    two XLA transposes an operand first, and the backward pass takes twice as long.
    """
    flat: Batch = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)
    return flat


def per_sample(
    function: Callable[[Params, Batch], Any], params: Params, batch: Batch
) -> Any:
    """The results of a function for each sample of a batch, on any devices.

    Args:
      function: (params, samples) -> arrays that have the samples' batch axes.
      params: its first argument.
      batch: any batch.

    Returns:
      Those arrays for the whole batch, shaped like its weight.
    """

    def part(params: Params, rows: Batch) -> Any:
        return map_blocks(partial(function, params), rows)

    spread = per_device(part, in_specs=(EVERYWHERE, ROWS), out_specs=ROWS)
    return spread(params, batch)


def shuffled_indices(key: Key[Array, ""], size: int) -> Int[Array, " size"]:
    """A permutation of 0 … size − 1. Consumes the key.

    For a power of two, four rounds of x ← (a·x + b) mod size, x ← x xor (x ≫ half)
    with random odd a: each is a bijection, and together they cost a twentieth of the
    sort behind `jax.random.permutation`, which serves all other sizes.
    """
    if size & (size - 1):
        return jax.random.permutation(key, size)
    words = jax.random.bits(key, (4, 2), jnp.uint32)
    half = max(1, (size.bit_length()) // 2)
    x = jnp.arange(size, dtype=jnp.uint32)
    for scale, shift in words:
        # `| 1` makes the factor odd, and so invertible modulo a power of two
        x = (x * (scale | 1) + shift) & jnp.uint32(size - 1)
        x = x ^ (x >> half)
    return x.astype(jnp.int32)


def _row_indices(
    key: Key[Array, ""], rows: int, row_size: int, num_minibatches: int
) -> Int[Array, "minibatches rows share"]:
    """The columns of each row that every minibatch takes."""
    keys = jax.random.split(key, rows)
    order = jax.vmap(lambda key: shuffled_indices(key, row_size))(keys)
    # [S, M] -> [S, k, m] -> [k, S, m]
    return jnp.moveaxis(order.reshape(rows, num_minibatches, -1), 1, 0)


def _take_rows(x: Array, index: Int[Array, "k S m"]) -> Array:
    """X [S, M, …] at `index`, as [k, S, m, …]."""
    taken: Array = jax.vmap(
        lambda row, columns: row[columns], in_axes=(0, 1), out_axes=1
    )(x, index)
    return taken


def _pack(tree: Any) -> tuple[list[Array], Callable[[list[Array]], Any]]:
    """All float32 leaves [S, M, …] concatenated to one [S, M, F], then the others.

    One gather then serves them all.
    """
    leaves, structure = jax.tree.flatten(tree)
    packed = [i for i, x in enumerate(leaves) if x.dtype == jnp.float32]
    widths = [math.prod(leaves[i].shape[2:]) for i in packed]
    matrix = jnp.concatenate(
        [leaves[i].reshape(*leaves[i].shape[:2], -1) for i in packed], axis=-1
    )
    others = [x for i, x in enumerate(leaves) if i not in packed]
    tails = [x.shape[2:] for x in leaves]

    def unpack(parts: list[Array]) -> Any:
        matrix, rest = parts[0], iter(parts[1:])
        ends = [sum(widths[: i + 1]) for i in range(len(widths))]
        columns = iter(jnp.split(matrix, ends[:-1], axis=-1))
        restored = [
            next(columns).reshape(*matrix.shape[:2], *tails[i])
            if i in packed
            else next(rest)
            for i in range(len(leaves))
        ]
        return jax.tree.unflatten(structure, restored)

    return [matrix, *others], unpack


def shuffle(
    batch: Batch, key: Key[Array, ""], num_minibatches: int, shards: int
) -> Int[Array, "k S m"] | None:
    """The samples that each of k minibatches takes of every row; None for all.

    Consumes the key.
    """
    if num_minibatches == 1:
        return None
    return _row_indices(key, shards, batch.weight.shape[1], num_minibatches)


def split_batch(
    batch: Batch, order: Array | None
) -> tuple[Any, Callable[[Any], Batch]]:
    """The batch in the k parts that `shuffle` chose, and how to read one of them.

    Returns:
      (stacked, read): leaves of `stacked` have k first, for a scan; `read` turns one
      slice of it into a Batch.
    """
    if order is None:
        return jax.tree.map(lambda x: x[None], batch), lambda part: part
    parts, unpack = _pack(batch)
    return [_take_rows(x, order) for x in parts], unpack


def minibatch_moments(
    batch: Batch, order: Array | None
) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
    """(mean, variance) of the advantages in each of the parts that `shuffle` chose.

    Computed apart from the samples, so that all epochs can share one call: devices
    then exchange these statistics once.
    """
    advantage, weight = (
        x[None] if order is None else _take_rows(x, order)
        for x in (batch.advantage, batch.weight)
    )
    mean, variance = jax.vmap(moments)(advantage, weight)
    return mean, variance
