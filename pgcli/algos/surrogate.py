"""Policy objectives from importance ratios, and what they say of the update.

Everywhere r = π_θ(a|s)/π_θ'(a|s), where π_θ' is the policy that acted.
"""

import jax.numpy as jnp

from pgcli.algos.advantage import explained_variance, weighted_mean
from pgcli.algos.base import Metrics
from pgcli.algos.minibatch import Batch, per_sample
from pgcli.arrays.shapes import Array, Float
from pgcli.nn.policy import Params, Policy, unroll


def clipped_surrogate(
    ratio: Float[Array, "*B"],
    advantage: Float[Array, "*B"],
    clip_eps: Float[Array, ""],
) -> Float[Array, "*B"]:
    """min(r·Â, clip(r, 1 − ε, 1 + ε)·Â), per sample (PPO, eq. 7, arXiv 1707.06347).

    Flat where moving further from π_θ' would look like a gain: r > 1 + ε with Â > 0,
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
    """½(V − R̂)², per sample; with `clip_eps` the larger of it and its clipped form.

    The clipped form takes V no further than ε from its value at collection, as in
    the code of the PPO paper.
    """
    loss = 0.5 * (value - return_) ** 2
    if clip_eps is None:
        return loss
    near = old_value + jnp.clip(value - old_value, -clip_eps, clip_eps)
    return jnp.maximum(loss, 0.5 * (near - return_) ** 2)


def policy_diagnostics(
    policy: Policy, params: Params, batch: Batch, clip_eps: Array | None = None
) -> Metrics:
    """What an update did to the policy, on its full batch with the final parameters.

    `kl` is the exact mean of KL(π_old‖π) over the states, `ratio_max` the largest
    importance ratio, and `ess` the effective sample size (Σr)²/(B·Σr²) in (0, 1]:
    the lecture's "p and q must not be far apart" as a number. With `clip_eps` also
    `clip_fraction`, the share of ratios outside 1 ± ε.
    """

    def compare(params: Params, samples: Batch) -> tuple[Array, Array, Array]:
        seen = unroll(
            policy,
            params,
            samples.first_carry,
            samples.obs,
            samples.start,
            samples.action_mask,
        )
        ratio = jnp.exp(seen.dist.log_prob(samples.action) - samples.logp)
        return ratio, samples.dist.kl(seen.dist), seen.dist.entropy()

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
    return metrics


def update_diagnostics(
    policy: Policy, params: Params, batch: Batch, clip_eps: Array | None = None
) -> Metrics:
    """`policy_diagnostics`, and how well the critic explained the returns before."""
    explained = explained_variance(batch.value, batch.return_, batch.weight)
    return policy_diagnostics(policy, params, batch, clip_eps) | {
        "explained_variance": explained
    }
