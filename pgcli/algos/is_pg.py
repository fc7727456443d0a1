"""Policy gradient with importance sampling, and nothing that holds θ near θ'.

    J^{θ'}(θ) = mean[ (π_θ(a|s)/π_θ'(a|s))·Â ]

ascended for several epochs on data of θ'. Lecture §6, from on-policy to off-policy:
the per-step ratio drops p_θ(s)/p_θ'(s), which is taken to be about 1, so the estimate
is biased as soon as θ leaves θ', and its variance grows with the distance.
"""

from typing import Any

from pgcli.algos.actor_critic import Passes, Sample, actor_critic
from pgcli.algos.base import Algorithm
from pgcli.arrays.shapes import Array
from pgcli.config.algorithms import ISPGConfig
from pgcli.nn.policy import Policy


def is_pg(policy: Policy, shards: int) -> Algorithm:
    """The unconstrained surrogate; `shards` is the rows that batches are kept in."""

    def gain(config: ISPGConfig, memory: Any, sample: Sample, plan: Passes) -> Array:
        return sample.ratio * sample.advantage

    def passes(config: ISPGConfig, progress: Array) -> Passes:
        return Passes(config.num_epochs, config.num_minibatches, config.entropy_coef)

    return actor_critic(policy, shards, gain, passes)
