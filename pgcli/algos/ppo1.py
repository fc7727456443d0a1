"""PPO with an adaptive KL penalty (Schulman et al., 2017, arXiv 1707.06347, §4).

    J = mean[ r·Â − β·KL(π_θ'(·|s)‖π_θ(·|s)) ]

then, once per update, from the exact mean KL of the whole batch: KL > KL_max → β·2,
KL < KL_min → β/2. Lecture §6, PPO1: the KL is a distance between behaviours, the
action distributions in the same states, not between parameters.
"""

from typing import Any

import jax.numpy as jnp

from pgcli.algos.actor_critic import actor_critic
from pgcli.algos.base import Algorithm, Metrics
from pgcli.algos.surrogate import EvaluatedBatch
from pgcli.algos.update import Memory, Schedules
from pgcli.arrays.shapes import Array, Float
from pgcli.config.algorithms import PPO1Config
from pgcli.nn.policy import Policy
from pgcli.rollout.types import Rollout, RolloutShape

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
    # too far: ×factor; too near: ÷factor; in between, or not finite: ×1
    low, high = kl_bounds(config)
    factor = jnp.float32(config.beta_factor)
    change = jnp.where(kl > high, factor, jnp.where(kl < low, 1 / factor, 1.0))
    # a β that is kept may lie outside the bounds
    return jnp.where(change == 1, beta, jnp.clip(beta * change, BETA_MIN, BETA_MAX))


def ppo1(policy: Policy) -> Algorithm:
    """PPO1 on a policy. Its memory is β."""

    def objective(
        config: Any, beta: Array, batch: EvaluatedBatch, schedules: Schedules
    ) -> Array:
        # KL(old‖new), in closed form for each state of the minibatch
        kl = batch.old_dist.kl(batch.dist)
        penalised: Array = batch.ratio * batch.advantage - beta * kl
        return penalised

    def init_memory(config: PPO1Config, shape: RolloutShape) -> Array:
        beta: Array = jnp.float32(config.beta_init)
        return beta

    def update_memory(
        config: PPO1Config, beta: Array, rollout: Rollout, metrics: Metrics
    ) -> tuple[Array, Metrics]:
        # once per update, on the KL of the whole batch after all epochs
        return adapt(config, beta, metrics["kl"]), {"beta": beta}

    return actor_critic(policy, objective, Memory(init_memory, update_memory))
