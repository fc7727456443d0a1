"""Gradient steps on a batch: epochs of shuffled minibatches.

Sizes: E epochs, k minibatches per epoch, P parameters.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from pgcli.algos.advantage import scale_to
from pgcli.algos.base import Hyperparameters, Metrics
from pgcli.algos.batch import (
    Batch,
    in_one_axis,
    minibatch_moments,
    shuffle,
    split_batch,
)
from pgcli.algos.optimizer import descend
from pgcli.arrays.device_mesh import EVERYWHERE, ROWS, per_device
from pgcli.arrays.sample_blocks import sum_blocks
from pgcli.arrays.shapes import Array, Float, Key
from pgcli.nn.policy import Params

Loss = Callable[[Params, Batch], tuple[Array, Metrics]]
"""(params, minibatch) -> (loss, metrics), each a weighted mean over the samples.

Only then can devices that hold different samples add up their results.
"""


def _gradient(
    loss: Callable[[Array, Batch], tuple[Array, Metrics]],
    flat: Float[Array, " P"],
    minibatch: Batch,
) -> tuple[Metrics, Float[Array, " P"]]:
    """(metrics, gradient) of a loss on a minibatch.

    Each device takes its own rows, block by block, and there is one exchange: the sum
    of a vector that holds gradient and metrics.
    """
    differentiate = jax.value_and_grad(loss, has_aux=True)
    names: list[str] = []  # of the metrics, known once the loss has been traced

    # [P + metrics + 1]: weighted means times Σw, and Σw itself, so that blocks add up
    def of_block(flat: Array, samples: Batch) -> Array:
        (_, metrics), grad = differentiate(flat, samples)
        names[:] = sorted(metrics)
        share = jnp.sum(samples.weight)
        values = jnp.stack([metrics[name] for name in names])
        return jnp.concatenate([share * grad, share * values, share[None]])

    # sum over the blocks of a device, then over devices
    def part(flat: Array, rows: Batch) -> Array:
        return sum_blocks(partial(of_block, flat), in_one_axis(rows))[None]

    parts = per_device(part, in_specs=(EVERYWHERE, ROWS), out_specs=ROWS)
    total = jnp.sum(parts(flat, minibatch), axis=0)

    # back to means over the whole minibatch
    mean = total[:-1] / jnp.maximum(total[-1], 1e-8)
    metrics = dict(zip(names, mean[flat.size :], strict=True))
    return metrics, mean[: flat.size]


def run_epochs(
    loss: Loss,
    hyper: Hyperparameters,
    lr: Float[Array, ""],
    params: Params,
    opt_state: Any,
    batch: Batch,
    key: Key[Array, ""],
    *,
    standardize_advantage: bool = False,
    refresh: Callable[[Params], Batch] | None = None,
) -> tuple[Params, Any, Metrics]:
    """Several passes of shuffled minibatch steps on a loss. Consumes the key.

    Once `metrics["kl"]` of a minibatch exceeds `kl_stop`, before its step, parameters
    and optimiser stay frozen for the rest of the update: a mask, so that it works
    under vmap.

    Args:
      loss: (params, minibatch) -> (loss, metrics).
      hyper: numbers of epochs and minibatches, `kl_stop`, the optimiser's constants.
      lr: learning rate of this update.
      params: parameters θ to begin from.
      opt_state: the optimiser's state.
      batch: samples to learn from.
      key: seed of the shuffles.
      standardize_advantage: to mean 0 and deviation 1 over each minibatch.
      refresh: computes the batch again at every epoch, from the current parameters.

    Returns:
      (params, opt_state, metrics): metrics averaged over the steps taken, with
      `grad_norm` and the number of steps `skipped` as not finite.
    """
    config = hyper.algo
    flat, unravel = ravel_pytree(params)

    def moments_of(batch: Batch, order: Array | None) -> tuple[Array, Array] | None:
        return minibatch_moments(batch, order) if standardize_advantage else None

    # before the loop: for every epoch the order [k, S, m] of its minibatches, and the
    # moments [k] of their advantages unless the epoch changes those
    def plan(key: Array) -> tuple[Array | None, tuple[Array, Array] | None]:
        order = shuffle(batch, key, config.num_minibatches, hyper.shards)
        return order, None if refresh is not None else moments_of(batch, order)

    # one gradient step, on one slice of the stacked minibatches
    def step(carry: Any, inputs: Any, read: Callable[[Any], Batch]) -> Any:
        flat, opt_state, stopped = carry
        minibatch, scale = read(inputs[0]), inputs[1]
        if scale is not None:
            advantage = scale_to(minibatch.advantage, scale)
            minibatch = minibatch.replace(advantage=advantage)
        metrics, grad = _gradient(
            lambda flat, batch: loss(unravel(flat), batch), flat, minibatch
        )
        # no step after `kl_stop`, nor on a minibatch without real samples
        if config.kl_stop is not None:
            stopped = stopped | (metrics["kl"] > config.kl_stop)
        allowed = ~stopped & (jnp.sum(minibatch.weight) > 0)
        flat, opt_state, norm, taken = descend(
            hyper.optimizer, lr, flat, opt_state, grad, allowed
        )
        logged = {**metrics, "grad_norm": norm}
        return (flat, opt_state, stopped), (logged, taken, allowed & ~taken)

    # one pass: gather all k minibatches at once, then scan over them
    def epoch(carry: Any, inputs: Any) -> Any:
        current, (order, scales) = batch, inputs
        if refresh is not None:
            current = refresh(unravel(carry[0]))
            scales = moments_of(current, order)
        parts, read = split_batch(current, order)
        return jax.lax.scan(lambda c, part: step(c, part, read), carry, (parts, scales))

    plans = jax.vmap(plan)(jax.random.split(key, config.num_epochs))
    (flat, opt_state, _), (logged, taken, skipped) = jax.lax.scan(
        epoch, (flat, opt_state, jnp.array(False)), plans, length=config.num_epochs
    )

    # logged values are [E, k]; means over the steps that were taken
    count = jnp.maximum(jnp.sum(taken), 1).astype(jnp.float32)
    metrics = {
        name: jnp.sum(jnp.where(taken, x, 0.0)) / count for name, x in logged.items()
    }
    metrics["skipped"] = jnp.sum(skipped, dtype=jnp.int32)
    return unravel(flat), opt_state, metrics
