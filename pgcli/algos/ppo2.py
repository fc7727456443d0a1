"""Proximal policy optimisation, clipped (Schulman et al., 2017, arXiv 1707.06347).

    J = mean[ min(r·Â, clip(r, 1 − ε, 1 + ε)·Â) ] − c_v·½ mean[(V − R̂)²] + c_e·mean[H]

with r = π_θ(a|s)/π_θ'(a|s), ascended for several epochs of shuffled minibatches.
Lecture §6, PPO2: no KL is computed, the clip holds θ near θ'.
"""

from typing import Any

from pgcli.algos.actor_critic import Passes, Sample, actor_critic
from pgcli.algos.base import Algorithm
from pgcli.algos.optimizer import scheduled
from pgcli.algos.surrogate import clipped_surrogate
from pgcli.arrays.shapes import Array
from pgcli.config.algorithms import PPO2Config
from pgcli.nn.policy import Policy


def ppo2(policy: Policy, shards: int) -> Algorithm:
    """PPO2 on a policy; `shards` is the number of rows that batches are kept in."""

    def gain(config: PPO2Config, memory: Any, sample: Sample, plan: Passes) -> Array:
        return clipped_surrogate(sample.ratio, sample.advantage, plan.clip_eps)

    def passes(config: PPO2Config, progress: Array) -> Passes:
        return Passes(
            config.num_epochs,
            config.num_minibatches,
            scheduled(config.entropy_coef, config.entropy_schedule, progress),
            config.value_clip_eps,
            config.kl_stop,
            config.recompute_advantage,
            scheduled(config.clip_eps, config.clip_schedule, progress),
        )

    return actor_critic(policy, shards, gain, passes)
