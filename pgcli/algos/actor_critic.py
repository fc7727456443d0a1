"""The family of algorithms with a learned baseline and a per-sample objective.

    J = mean[ objective ] − c_v·½ mean[(V − R̂)²] + c_e·mean[H(π_θ)]

An algorithm is its objective; how often it passes over a rollout is configuration.
"""

from collections.abc import Callable
from typing import Any

from pgcli.algos.advantage import rollout_advantage, weighted_mean
from pgcli.algos.base import Algorithm, Metrics
from pgcli.algos.batch import Batch
from pgcli.algos.epochs import Loss
from pgcli.algos.surrogate import EvaluatedBatch, evaluate, value_loss
from pgcli.algos.update import NO_MEMORY, Memory, Schedules, make_algorithm
from pgcli.arrays.shapes import Array
from pgcli.nn.policy import Params, Policy
from pgcli.rollout.types import Rollout

Objective = Callable[[Any, Any, EvaluatedBatch, Schedules], Array]
"""(config, memory, batch, schedules) -> objective of each sample, [*B]."""


def actor_critic(
    policy: Policy, objective: Objective, memory: Memory = NO_MEMORY
) -> Algorithm:
    """An algorithm from its objective.

    Args:
      policy: π_θ and V.
      objective: what is maximised, per sample.
      memory: its state between updates.
    """

    def make_loss(
        config: Any, memory: Any, rollout: Rollout, schedules: Schedules
    ) -> Loss:
        def loss(params: Params, batch: Batch) -> tuple[Array, Metrics]:
            now = evaluate(policy, params, batch)

            # the three terms of J, each a weighted mean over the samples
            each = objective(config, memory, now, schedules)
            policy_loss = -weighted_mean(each, batch.weight)
            errors = value_loss(
                now.value, batch.value, batch.return_, config.value_clip_eps
            )
            critic = weighted_mean(errors, batch.weight)
            entropy = weighted_mean(now.dist.entropy(), batch.weight)
            total = policy_loss + config.value_coef * critic

            # `kl_stop` needs the exact KL of every minibatch
            metrics = {"policy_loss": policy_loss, "value_loss": critic}
            if config.kl_stop is not None:
                kl = now.old_dist.kl(now.dist)
                metrics["kl"] = weighted_mean(kl, batch.weight)
            return total - schedules.entropy_coef * entropy, metrics

        return loss

    return make_algorithm(
        policy,
        "steps",
        credit=gae_credit,
        make_loss=make_loss,
        standardize_over="minibatch",
        memory=memory,
    )


def gae_credit(config: Any, memory: Any, rollout: Rollout) -> tuple[Array, Array]:
    """(Â, R̂) by generalised advantage estimation with the values of the rollout."""
    return rollout_advantage(rollout, config.gamma, config.gae_lambda)
