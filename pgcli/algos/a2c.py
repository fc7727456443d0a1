"""Advantage actor-critic (Mnih et al., 2016, arXiv 1602.01783, synchronous).

    J = mean[ log π_θ(a|s)·Â ] − c_v·½ mean[(V − R̂)²] + c_e·mean[H(π_θ)]

One full-batch ascent step per rollout. Lecture §5: the weight on ∇log π is an
advantage, with a state-dependent baseline V(s) that is learned.
"""

from typing import Any

from pgcli.algos.actor_critic import Passes, Sample, actor_critic
from pgcli.algos.base import Algorithm
from pgcli.arrays.shapes import Array
from pgcli.config.algorithms import A2CConfig
from pgcli.nn.policy import Policy


def a2c(policy: Policy, shards: int) -> Algorithm:
    """A2C on a policy; `shards` is the number of rows that batches are kept in."""

    def gain(config: A2CConfig, memory: Any, sample: Sample, plan: Passes) -> Array:
        return sample.logp * sample.advantage

    def passes(config: A2CConfig, progress: Array) -> Passes:
        return Passes(1, 1, config.entropy_coef)

    return actor_critic(policy, shards, gain, passes)
