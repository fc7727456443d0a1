"""Batches, and the passes over them in shuffled minibatches.

A batch is kept as S rows and shuffled within each, so that devices which hold whole
rows never exchange samples: leaves are [S, B/S, …]. For a recurrent policy the unit is
a whole environment instead, and leaves stay [T, N, …].
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from pgcli.algos.advantage import moments, scale_to
from pgcli.algos.base import Metrics
from pgcli.algos.optimizer import descend
from pgcli.arrays.device_mesh import EVERYWHERE, ROWS, per_device
from pgcli.arrays.sample_blocks import map_blocks, sum_blocks
from pgcli.arrays.shapes import Array, Float, Int, Key
from pgcli.config.schema import OptimizerConfig
from pgcli.nn.distributions import Distribution
from pgcli.nn.policy import Params
from pgcli.rollout.types import Rollout


class Batch(NamedTuple):
    """Samples to learn from; all leaves share their first two axes."""

    obs: Any
    action: Any
    dist: Distribution
    logp: Array
    value: Array
    advantage: Array
    return_: Array
    weight: Array
    start: Array
    action_mask: Array | None
    first_carry: Any  # [N, …] for a recurrent policy, else ()

    @property
    def recurrent(self) -> bool:
        """Whether samples must stay in their sequences."""
        return bool(jax.tree.leaves(self.first_carry))


def make_batch(
    rollout: Rollout,
    advantage: Float[Array, "T N"],
    return_: Float[Array, "T N"],
    shards: int,
) -> Batch:
    """The rollout's samples with their credit, in S rows (or in sequences)."""
    batch = Batch(
        rollout.obs,
        rollout.action,
        rollout.dist,
        rollout.logp,
        rollout.value,
        advantage,
        return_,
        rollout.weight,
        rollout.start,
        rollout.action_mask,
        rollout.first_carry,
    )
    if batch.recurrent:
        return batch

    def to_rows(x: Array) -> Array:
        num_steps, num_envs = x.shape[:2]
        rows = x.reshape(num_steps, shards, num_envs // shards, *x.shape[2:])
        return jnp.moveaxis(rows, 1, 0).reshape(
            shards, num_steps * num_envs // shards, *x.shape[2:]
        )

    rows: Batch = jax.tree.map(to_rows, batch)
    return rows


def in_one_axis(batch: Batch) -> Batch:
    """A batch of samples [S, B/S, …] as [B, …]; sequences stay as they are.

    With one batch axis the gradient of a dense layer is a plain matrix product. With
    two XLA transposes an operand first, and the backward pass takes twice as long.
    """
    if batch.recurrent:
        return batch
    flat: Batch = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)
    return flat


def per_sample(
    function: Callable[[Params, Batch], Any], params: Params, batch: Batch
) -> Any:
    """What a function of samples gives for each of a batch, wherever it lies.

    Args:
      function: (params, samples) -> arrays that have the samples' batch axes.
      params: handed to it.
      batch: any batch.

    Returns:
      Those arrays for the whole batch, shaped like its weight.
    """
    if batch.recurrent:
        return function(params, batch)

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
        x = (x * (scale | 1) + shift) & jnp.uint32(size - 1)
        x = x ^ (x >> half)
    return x.astype(jnp.int32)


def _row_indices(
    key: Key[Array, ""], rows: int, row_size: int, num_minibatches: int
) -> Int[Array, "minibatches rows share"]:
    """Which columns of each row every minibatch takes."""
    keys = jax.random.split(key, rows)
    order = jax.vmap(lambda key: shuffled_indices(key, row_size))(keys)
    return jnp.moveaxis(order.reshape(rows, num_minibatches, -1), 1, 0)


def _take_rows(x: Array, index: Int[Array, "k S m"]) -> Array:
    """X [S, M, …] at `index`, as [k, S, m, …]."""
    taken: Array = jax.vmap(
        lambda row, columns: row[columns], in_axes=(0, 1), out_axes=1
    )(x, index)
    return taken


def _pack(tree: Any) -> tuple[list[Array], Callable[[list[Array]], Any]]:
    """All float32 leaves [S, M, …] side by side as one [S, M, F], then the others.

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
) -> Array | None:
    """Which samples each of k minibatches takes; None where one takes all.

    They are columns of every row [k, S, m]; for a recurrent policy whole environments
    [k, n]. Consumes the key.
    """
    if num_minibatches == 1:
        return None
    size = batch.weight.shape[1]
    if not batch.recurrent:
        return _row_indices(key, shards, size, num_minibatches)
    index = _row_indices(key, shards, size // shards, num_minibatches)
    first = jnp.arange(shards, dtype=index.dtype)[None, :, None] * (size // shards)
    return (index + first).reshape(num_minibatches, -1)


def split_batch(
    batch: Batch, order: Array | None
) -> tuple[Any, Callable[[Any], Batch]]:
    """The batch in the k parts that `shuffle` chose, and how to read one of them.

    Returns:
      (stacked, read): leaves of `stacked` have k first, for a scan; `read` turns one
      slice of it into a Batch.
    """
    if order is None or batch.recurrent:
        sequences = batch._replace(first_carry=())
        taken = jax.tree.map(lambda x: _take(x, order, recurrent=True), sequences)
        carry = batch.first_carry
        carry = jax.tree.map(lambda x: x[None] if order is None else x[order], carry)
        return taken._replace(first_carry=carry), lambda part: part
    parts, unpack = _pack(batch)
    return [_take(x, order, recurrent=False) for x in parts], unpack


def _take(x: Array, order: Array | None, *, recurrent: bool) -> Array:
    """Each minibatch's part of a leaf, side by side: [k, …]."""
    if order is None:
        return x[None]
    return jnp.moveaxis(x[:, order], 1, 0) if recurrent else _take_rows(x, order)


def minibatch_moments(
    batch: Batch, order: Array | None
) -> tuple[Float[Array, " k"], Float[Array, " k"]]:
    """(mean, variance) of the advantages in each of the parts that `shuffle` chose.

    Apart from the samples themselves, so that those of several epochs can be had at
    once: devices then exchange them once.
    """
    advantage, weight = (
        _take(x, order, recurrent=batch.recurrent)
        for x in (batch.advantage, batch.weight)
    )
    mean, variance = jax.vmap(moments)(advantage, weight)
    return mean, variance


Loss = Callable[[Params, Batch], tuple[Array, Metrics]]
"""(params, minibatch) -> (loss, metrics), each a weighted mean over the samples.

Only so can devices that hold different samples add up what each of them found.
"""


def _gradient(
    loss: Callable[[Array, Batch], tuple[Array, Metrics]],
    flat: Float[Array, " P"],
    minibatch: Batch,
) -> tuple[Metrics, Float[Array, " P"]]:
    """(metrics, gradient) of a loss on a minibatch.

    Several devices take their own rows, each block by block, and exchange once: the sum
    of one vector that holds gradient and metrics.
    """
    differentiate = jax.value_and_grad(loss, has_aux=True)
    if minibatch.recurrent:
        (_, metrics), grad = differentiate(flat, minibatch)
        return metrics, grad

    names: list[str] = []  # of the metrics, known once the loss has been traced

    def of_block(flat: Array, samples: Batch) -> Array:
        (_, metrics), grad = differentiate(flat, samples)
        names[:] = sorted(metrics)
        share = jnp.sum(samples.weight)
        values = jnp.stack([metrics[name] for name in names])
        return jnp.concatenate([share * grad, share * values, share[None]])

    def part(flat: Array, rows: Batch) -> Array:
        return sum_blocks(partial(of_block, flat), in_one_axis(rows))[None]

    parts = per_device(part, in_specs=(EVERYWHERE, ROWS), out_specs=ROWS)
    total = jnp.sum(parts(flat, minibatch), axis=0)
    mean = total[:-1] / jnp.maximum(total[-1], 1e-8)
    metrics = dict(zip(names, mean[flat.size :], strict=True))
    return metrics, mean[: flat.size]


def run_epochs(
    loss: Loss,
    config: OptimizerConfig,
    lr: Float[Array, ""],
    params: Params,
    opt_state: Any,
    batch: Batch,
    key: Key[Array, ""],
    *,
    num_epochs: int,
    num_minibatches: int,
    shards: int,
    standardize_advantage: bool = False,
    refresh: Callable[[Params], Batch] | None = None,
    kl_stop: Array | float | None = None,
) -> tuple[Params, Any, Metrics]:
    """Several passes of shuffled minibatch steps on a loss. Consumes the key.

    Args:
      loss: (params, minibatch) -> (loss, metrics).
      config: the optimiser's constants.
      lr: learning rate of this update.
      params: parameters θ to begin from.
      opt_state: the optimiser's state.
      batch: what to learn from.
      key: seed of the shuffles.
      num_epochs: passes.
      num_minibatches: steps per pass.
      shards: rows S of the batch.
      standardize_advantage: to mean 0 and deviation 1 over each minibatch.
      refresh: makes the batch anew at every epoch, from the parameters of then.
      kl_stop: once `metrics["kl"]` of a minibatch passes this, before its step,
        parameters and optimiser stay frozen for the rest.

    Returns:
      (params, opt_state, metrics): metrics averaged over the steps taken, with
      `grad_norm` and the number of steps `skipped` as not finite.
    """
    flat, unravel = ravel_pytree(params)

    def step(carry: Any, part: Any, read: Callable[[Any], Batch]) -> Any:
        flat, opt_state, stopped = carry
        minibatch, scale = read(part[0]), part[1]
        if scale is not None:
            advantage = scale_to(minibatch.advantage, scale)
            minibatch = minibatch._replace(advantage=advantage)
        metrics, grad = _gradient(
            lambda flat, batch: loss(unravel(flat), batch), flat, minibatch
        )
        if kl_stop is not None:
            stopped = stopped | (metrics["kl"] > kl_stop)
        allowed = ~stopped & (jnp.sum(minibatch.weight) > 0)
        flat, opt_state, norm, taken = descend(
            config, lr, flat, opt_state, grad, allowed
        )
        seen = {**metrics, "grad_norm": norm}
        return (flat, opt_state, stopped), (seen, taken, allowed & ~taken)

    def scales_of(batch: Batch, order: Array | None) -> tuple[Array, Array] | None:
        return minibatch_moments(batch, order) if standardize_advantage else None

    def epoch(carry: Any, inputs: Any) -> Any:
        now, (order, scales) = batch, inputs
        if refresh is not None:
            now = refresh(unravel(carry[0]))
            scales = scales_of(now, order)
        parts, read = split_batch(now, order)
        return jax.lax.scan(lambda c, part: step(c, part, read), carry, (parts, scales))

    def plan(key: Array) -> tuple[Array | None, tuple[Array, Array] | None]:
        order = shuffle(batch, key, num_minibatches, shards)
        return order, None if refresh is not None else scales_of(batch, order)

    plans = jax.vmap(plan)(jax.random.split(key, num_epochs))
    (flat, opt_state, _), (seen, taken, skipped) = jax.lax.scan(
        epoch, (flat, opt_state, jnp.array(False)), plans, length=num_epochs
    )
    count = jnp.maximum(jnp.sum(taken), 1).astype(jnp.float32)
    metrics = {
        name: jnp.sum(jnp.where(taken, x, 0.0)) / count for name, x in seen.items()
    }
    metrics["skipped"] = jnp.sum(skipped, dtype=jnp.int32)
    return unravel(flat), opt_state, metrics
