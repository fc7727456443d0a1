"""Proximal policy optimisation, clipped (Schulman et al., 2017, arXiv 1707.06347).

    J = mean[ min(r·Â, clip(r, 1 − ε, 1 + ε)·Â) ] − c_v·½ mean[(V − R̂)²] + c_e·mean[H]

with r = π_θ(a|s)/π_θ'(a|s), ascended for several epochs of shuffled minibatches.
Lecture §6, PPO2: no KL is computed, the clip holds θ near θ'.
"""

from typing import Any

from pgcli.algos.actor_critic import actor_critic
from pgcli.algos.base import Algorithm
from pgcli.algos.surrogate import EvaluatedBatch, clipped_surrogate
from pgcli.algos.update import Schedules
from pgcli.arrays.shapes import Array
from pgcli.config.algorithms import PPO2Config
from pgcli.nn.policy import Policy


def ppo2(policy: Policy) -> Algorithm:
    """PPO2 on a policy."""

    def objective(
        config: PPO2Config, memory: Any, batch: EvaluatedBatch, schedules: Schedules
    ) -> Array:
        # eq. 7, with ε by its schedule
        return clipped_surrogate(batch.ratio, batch.advantage, schedules.clip_eps)

    return actor_critic(policy, objective)
