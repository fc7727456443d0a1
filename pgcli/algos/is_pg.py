"""Policy gradient with importance sampling, and nothing that holds θ near θ'.

    J^{θ'}(θ) = mean[ (π_θ(a|s)/π_θ'(a|s))·Â ]

ascended for several epochs on data of θ'. Lecture §6, from on-policy to off-policy:
the per-step ratio drops p_θ(s)/p_θ'(s), which is taken to be about 1, so the estimate
is biased as soon as θ leaves θ', and its variance grows with the distance.
"""

from typing import Any

from pgcli.algos.actor_critic import actor_critic
from pgcli.algos.base import Algorithm
from pgcli.algos.surrogate import EvaluatedBatch
from pgcli.algos.update import Schedules
from pgcli.arrays.shapes import Array
from pgcli.config.algorithms import ISPGConfig
from pgcli.nn.policy import Policy


def is_pg(policy: Policy) -> Algorithm:
    """The unconstrained surrogate on a policy."""

    def objective(
        config: ISPGConfig, memory: Any, batch: EvaluatedBatch, schedules: Schedules
    ) -> Array:
        # at θ = θ' the ratio is 1 and the gradient that of A2C
        return batch.ratio * batch.advantage

    return actor_critic(policy, objective)
