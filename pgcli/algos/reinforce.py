"""The Monte Carlo algorithms: REINFORCE, with a baseline, with reward-to-go.

    ∇J ≈ (1/N) Σ_n Σ_t Ψ_t ∇log π_θ(a_t|s_t)

over N complete trajectories, one full-batch ascent step (Williams, 1992). They differ
in Ψ only: an action is credited with the whole return of its trajectory or with the
rewards that came after it, minus a baseline. Lecture §3 (whole return), §4 Tip 1
(baseline), §5 Tip 2 (reward-to-go and discount). The weight γ^t of the discounted
state distribution is dropped, as usual. A time limit ends a trajectory: the horizon is
finite.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from pgcli.algos.advantage import (
    leave_one_out,
    reward_to_go,
    weighted_mean,
    whole_return,
)
from pgcli.algos.base import Algorithm, Metrics
from pgcli.algos.batch import Batch
from pgcli.algos.epochs import Loss
from pgcli.algos.surrogate import evaluate
from pgcli.algos.update import NO_MEMORY, Memory, Schedules, make_algorithm
from pgcli.arrays.shapes import Array
from pgcli.config.algorithms import ReinforceBaselineConfig, ReinforceConfig
from pgcli.nn.policy import Params, Policy
from pgcli.rollout.types import Rollout, RolloutShape

RUNNING_DECAY = 0.9
"""Weight of earlier batches in the running baseline."""

Weigh = Callable[[Any, Any, Rollout], Array]
"""(config, memory, rollout) -> Ψ [T, N]."""


def reinforce(policy: Policy) -> Algorithm:
    """Ψ_t = R(τ): the whole trajectory's reward, for each of its steps."""

    def weigh(config: ReinforceConfig, memory: Any, rollout: Rollout) -> Array:
        return whole_return(rollout.reward, rollout.weight)

    return monte_carlo(policy, weigh)


def reinforce_baseline(policy: Policy) -> Algorithm:
    """Ψ_t = R(τ) − b.

    The memory of a running baseline is (Σ decayed means, Σ decayed weights); their
    quotient is b, without a bias towards the zeros of the start.
    """

    def weigh(config: ReinforceBaselineConfig, memory: Any, rollout: Rollout) -> Array:
        return_ = whole_return(rollout.reward, rollout.weight)
        # [N]: every row of return_ is the same
        each = return_[0]
        if config.baseline == "running":
            total, mass = memory
            baseline = total / jnp.maximum(mass, 1e-8)
        elif config.baseline == "leave_one_out":
            baseline = leave_one_out(each, jnp.ones_like(each))[None]
            baseline = jnp.broadcast_to(baseline, return_.shape)
        else:
            baseline = jnp.mean(each)
        weights: Array = return_ - baseline
        return weights

    def init_memory(config: ReinforceBaselineConfig, shape: RolloutShape) -> Any:
        running = config.baseline == "running"
        return (jnp.float32(0), jnp.float32(0)) if running else ()

    def update_memory(
        config: ReinforceBaselineConfig, memory: Any, rollout: Rollout, metrics: Metrics
    ) -> tuple[Any, Metrics]:
        if config.baseline != "running":
            return memory, {}
        # after the update: b never contains the batch that it is subtracted from
        total, mass = memory
        mean = jnp.mean(whole_return(rollout.reward, rollout.weight)[0])
        keep = jnp.float32(RUNNING_DECAY)
        return (keep * total + (1 - keep) * mean, keep * mass + 1 - keep), {}

    return monte_carlo(policy, weigh, Memory(init_memory, update_memory))


def reward_to_go_algorithm(policy: Policy) -> Algorithm:
    """Ψ_t = G_t − b with G_t = Σ_{t'≥t} γ^{t'−t} r_{t'}."""

    def weigh(config: Any, memory: Any, rollout: Rollout) -> Array:
        weight = rollout.weight
        credit = reward_to_go(rollout.reward, weight, config.gamma)
        if config.baseline == "none":
            return credit
        if config.baseline == "mean":
            return credit - weighted_mean(credit, weight)
        # [N]: mean of G over the steps of all other trajectories
        total, count = jnp.sum(credit * weight, axis=0), jnp.sum(weight, axis=0)
        baseline = leave_one_out(total, count)[None]
        return credit - jnp.broadcast_to(baseline, credit.shape)

    return monte_carlo(policy, weigh)


def monte_carlo(policy: Policy, weigh: Weigh, memory: Memory = NO_MEMORY) -> Algorithm:
    """An algorithm from its weights Ψ; each column of the rollout is one trajectory."""

    def credit(config: Any, memory: Any, rollout: Rollout) -> tuple[Array, None]:
        return weigh(config, memory, rollout), None

    def make_loss(
        config: Any, memory: Any, rollout: Rollout, schedules: Schedules
    ) -> Loss:
        # a mean over trajectories of sums over steps, from a mean over steps
        num_trajectories = rollout.weight.shape[1]
        steps_per_trajectory = jnp.sum(rollout.weight) / num_trajectories

        def loss(params: Params, batch: Batch) -> tuple[Array, Metrics]:
            logp = evaluate(policy, params, batch).logp
            # rows after the end of a trajectory may hold anything
            weighted = jnp.where(batch.weight > 0, logp * batch.advantage, 0.0)
            mean = weighted_mean(weighted, batch.weight)
            policy_loss = -mean * steps_per_trajectory
            return policy_loss, {"policy_loss": policy_loss}

        return loss

    return make_algorithm(
        policy, "episodes", credit=credit, make_loss=make_loss, memory=memory
    )
