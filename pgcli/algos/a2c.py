"""Advantage actor-critic (Mnih et al., 2016, arXiv 1602.01783, synchronous).

    J = mean[ log π_θ(a|s)·Â ] − c_v·½ mean[(V − R̂)²] + c_e·mean[H(π_θ)]

One full-batch ascent step per rollout. Lecture §5: the weight on ∇log π is an
advantage, with a state-dependent baseline V(s) that is learned.
"""

from typing import Any

from pgcli.algos.actor_critic import actor_critic
from pgcli.algos.base import Algorithm
from pgcli.algos.surrogate import EvaluatedBatch
from pgcli.algos.update import Schedules
from pgcli.arrays.shapes import Array
from pgcli.config.algorithms import A2CConfig
from pgcli.nn.policy import Policy


def a2c(policy: Policy) -> Algorithm:
    """A2C on a policy."""

    def objective(
        config: A2CConfig, memory: Any, batch: EvaluatedBatch, schedules: Schedules
    ) -> Array:
        # the gradient of this is Â·∇log π
        return batch.logp * batch.advantage

    return actor_critic(policy, objective)
