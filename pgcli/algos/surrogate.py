"""Objectives from importance ratios, the value loss, and diagnostics of an update.

Everywhere r = π_θ(a|s)/π_θ'(a|s), where π_θ' is the policy that acted.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from pgcli.algos.advantage import explained_variance, weighted_mean
from pgcli.algos.base import Metrics
from pgcli.algos.batch import Batch, per_sample
from pgcli.arrays.shapes import Array, Float
from pgcli.nn.distributions import Distribution
from pgcli.nn.policy import Params, Policy, Unrolled, unroll


class EvaluatedBatch(NamedTuple):
    """A minibatch under the current parameters θ; all but the distributions [*B]."""

    logp: Array  # log π_θ(a|s)
    ratio: Array  # π_θ(a|s)/π_θ'(a|s), θ' being the parameters that acted
    advantage: Array  # Â, standardised if the configuration asks for it
    value: Array  # V(s) under θ
    dist: Distribution  # π_θ(·|s)
    old_dist: Distribution  # π_θ'(·|s)


def evaluate(policy: Policy, params: Params, batch: Batch) -> EvaluatedBatch:
    """The batch under the parameters θ."""
    now = _outputs(policy, params, batch)
    logp = now.dist.log_prob(batch.action)
    # from logarithms: the quotient of two small densities would underflow
    ratio = jnp.exp(logp - batch.logp)
    return EvaluatedBatch(logp, ratio, batch.advantage, now.value, now.dist, batch.dist)


def _outputs(policy: Policy, params: Params, batch: Batch) -> Unrolled:
    """The policy's outputs for a batch, with the batch's axes."""
    inputs: Any = (batch.obs, batch.start)
    if not batch.recurrent:
        return unroll(policy, params, batch.first_carry, *inputs)
    # sequences [*B, T, …] as the policy takes them: [T, N, …]
    lead = batch.start.shape[:-1]

    def together(x: Array) -> Array:
        return x.reshape(-1, *x.shape[len(lead) :])

    inputs = jax.tree.map(lambda x: jnp.moveaxis(together(x), 1, 0), inputs)
    carry = jax.tree.map(together, batch.first_carry)
    now = unroll(policy, params, carry, *inputs)

    def apart(x: Array) -> Array:
        return jnp.moveaxis(x, 0, 1).reshape(*lead, x.shape[0], *x.shape[2:])

    outputs: Unrolled = jax.tree.map(apart, now)
    return outputs


def clipped_surrogate(
    ratio: Float[Array, "*B"], advantage: Float[Array, "*B"], clip_eps: Float[Array, ""]
) -> Float[Array, "*B"]:
    """min(r·Â, clip(r, 1 − ε, 1 + ε)·Â), per sample (PPO, eq. 7, arXiv 1707.06347).

    Flat where moving further from π_θ' would count as a gain: r > 1 + ε with Â > 0,
    r < 1 − ε with Â < 0.
    """
    clipped = jnp.clip(ratio, 1 - clip_eps, 1 + clip_eps)
    return jnp.minimum(ratio * advantage, clipped * advantage)


def value_loss(
    value: Float[Array, "*B"],
    old_value: Float[Array, "*B"],
    return_: Float[Array, "*B"],
    clip_eps: Array | float | None,
) -> Float[Array, "*B"]:
    """½(V − R̂)², per sample; with `clip_eps`, the maximum of it and its clipped form.

    The clipped form moves V at most ε from its value at collection, as in the code of
    the PPO paper.
    """
    loss = 0.5 * (value - return_) ** 2
    if clip_eps is None:
        return loss
    # the larger of the two: clipping never hides an error
    near = old_value + jnp.clip(value - old_value, -clip_eps, clip_eps)
    return jnp.maximum(loss, 0.5 * (near - return_) ** 2)


def diagnostics(
    policy: Policy, params: Params, batch: Batch, clip_eps: Array | None = None
) -> Metrics:
    """Effect of an update, on its full batch with the final parameters.

    `kl` is the exact mean of KL(π_old‖π) over the states, `ratio_max` the largest
    importance ratio, and `ess` the effective sample size (Σr)²/(B·Σr²) in (0, 1]:
    the lecture's "p and q must not be far apart" as a number. With `clip_eps` also
    `clip_fraction`, the share of ratios outside 1 ± ε. With a critic also the
    `explained_variance` of the returns by the values before the update.
    """

    def compare(params: Params, samples: Batch) -> tuple[Array, Array, Array]:
        now = evaluate(policy, params, samples)
        return now.ratio, now.old_dist.kl(now.dist), now.dist.entropy()

    ratio, kl, entropy = per_sample(compare, params, batch)
    mean = weighted_mean(ratio, batch.weight)
    mean_square = weighted_mean(ratio**2, batch.weight)
    metrics = {
        "kl": weighted_mean(kl, batch.weight),
        "ratio_max": jnp.max(jnp.where(batch.weight > 0, ratio, 0.0)),
        "ess": mean**2 / jnp.maximum(mean_square, 1e-30),
        "entropy": weighted_mean(entropy, batch.weight),
    }
    if clip_eps is not None:
        outside = (jnp.abs(ratio - 1) > clip_eps).astype(jnp.float32)
        metrics["clip_fraction"] = weighted_mean(outside, batch.weight)
    if batch.return_ is not None:
        metrics["explained_variance"] = explained_variance(
            batch.value, batch.return_, batch.weight
        )
    return metrics
