"""PPO with an adaptive KL penalty (Schulman et al., 2017, arXiv 1707.06347, §4).

    J = mean[ r·Â − β·KL(π_θ'(·|s)‖π_θ(·|s)) ]

then, once per update, from the exact mean KL of the whole batch: KL > KL_max → β·2,
KL < KL_min → β/2. Lecture §6, PPO1: the KL is a distance between behaviours, the
action distributions in the same states, not between parameters.
"""

from typing import Any

import jax.numpy as jnp

from pgcli.algos.actor_critic import Passes, Sample, actor_critic
from pgcli.algos.base import Algorithm, Metrics
from pgcli.arrays.shapes import Array, Float
from pgcli.config.algorithms import PPO1Config
from pgcli.nn.policy import Policy

BETA_MIN, BETA_MAX = 1e-4, 1e4
"""Bounds that adaptation never leaves."""


def kl_bounds(config: PPO1Config) -> tuple[Any, Any]:
    """(KL_min, KL_max): as given, else the paper's d/1.5 and 1.5·d."""
    if config.kl_target is not None:
        return config.kl_target / 1.5, config.kl_target * 1.5
    return config.kl_min, config.kl_max


def adapt(
    config: PPO1Config, beta: Float[Array, ""], kl: Float[Array, ""]
) -> Float[Array, ""]:
    """β for the next update; a factor of 1 keeps it, whatever it is."""
    low, high = kl_bounds(config)
    factor = jnp.float32(config.beta_factor)
    change = jnp.where(kl > high, factor, jnp.where(kl < low, 1 / factor, 1.0))
    return jnp.where(change == 1, beta, jnp.clip(beta * change, BETA_MIN, BETA_MAX))


def ppo1(policy: Policy, shards: int) -> Algorithm:
    """PPO1 on a policy; `shards` is the number of rows that batches are kept in."""

    def gain(config: PPO1Config, beta: Array, sample: Sample, plan: Passes) -> Array:
        kl = sample.old_dist.kl(sample.dist)
        return sample.ratio * sample.advantage - beta * kl

    def passes(config: PPO1Config, progress: Array) -> Passes:
        return Passes(config.num_epochs, config.num_minibatches, config.entropy_coef)

    def remember(config: PPO1Config, beta: Array, metrics: Metrics) -> Any:
        return adapt(config, beta, metrics["kl"]), {"beta": beta}

    return actor_critic(
        policy,
        shards,
        gain,
        passes,
        lambda config: jnp.float32(config.beta_init),
        remember,
    )
