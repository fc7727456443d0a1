"""The Monte Carlo rungs: REINFORCE, with a baseline, with reward-to-go.

    ∇J ≈ (1/N) Σ_n Σ_t Ψ_t ∇log π_θ(a_t|s_t)

over N complete trajectories, one full-batch ascent step (Williams, 1992). The rungs
differ in Ψ alone: the credit of an action is its trajectory's whole return or what
came after it, less a baseline. Lecture §3 (whole return), §4 Tip 1 (baseline), §5
Tip 2 (reward-to-go and discount). The weight γ^t of the discounted state distribution
is dropped, as everywhere. A time limit ends a trajectory: the horizon is finite.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from pgcli.algos.advantage import (
    leave_one_out,
    reward_to_go,
    standardize,
    weighted_mean,
    whole_return,
)
from pgcli.algos.base import Algorithm, Hyperparameters, LearnerState, Metrics
from pgcli.algos.minibatch import Batch, make_batch, run_epochs
from pgcli.algos.optimizer import init_optimizer, scheduled
from pgcli.algos.surrogate import policy_diagnostics
from pgcli.arrays.shapes import Array
from pgcli.nn.policy import Agent, Params, Policy, unroll
from pgcli.rollout.types import Rollout

RUNNING_DECAY = 0.9
"""Weight of earlier batches in the running baseline."""

Weigh = Callable[[Any, Any, Rollout], tuple[Array, Any]]
"""(config, memory, rollout) -> (Ψ [T, N], memory)."""


def reinforce(policy: Policy, shards: int) -> Algorithm:
    """Ψ_t = R(τ): the whole trajectory's reward, for each of its steps."""

    def weigh(config: Any, memory: Any, rollout: Rollout) -> tuple[Array, Any]:
        return whole_return(rollout.reward, rollout.weight), memory

    return monte_carlo(policy, shards, weigh)


def reinforce_baseline(policy: Policy, shards: int) -> Algorithm:
    """Ψ_t = R(τ) − b."""

    def weigh(config: Any, memory: Any, rollout: Rollout) -> tuple[Array, Any]:
        weight = rollout.weight
        return_ = whole_return(rollout.reward, weight)
        each = return_[0]
        mean = jnp.mean(each)
        if config.baseline == "running":
            total, mass = memory
            baseline = total / jnp.maximum(mass, 1e-8)
            keep = jnp.float32(RUNNING_DECAY)
            memory = (keep * total + (1 - keep) * mean, keep * mass + 1 - keep)
        elif config.baseline == "leave_one_out":
            baseline = leave_one_out(each, jnp.ones_like(each))[None]
            baseline = jnp.broadcast_to(baseline, return_.shape)
        else:
            baseline = mean
        return return_ - baseline, memory

    def memory(config: Any) -> Any:
        running = config.baseline == "running"
        return (jnp.float32(0), jnp.float32(0)) if running else ()

    return monte_carlo(policy, shards, weigh, memory)


def reward_to_go_rung(policy: Policy, shards: int) -> Algorithm:
    """Ψ_t = G_t − b with G_t = Σ_{t'≥t} γ^{t'−t} r_{t'}."""

    def weigh(config: Any, memory: Any, rollout: Rollout) -> tuple[Array, Any]:
        weight = rollout.weight
        credit = reward_to_go(rollout.reward, weight, config.gamma)
        if config.baseline == "none":
            return credit, memory
        if config.baseline == "mean":
            return credit - weighted_mean(credit, weight), memory
        total, count = jnp.sum(credit * weight, axis=0), jnp.sum(weight, axis=0)
        baseline = leave_one_out(total, count)[None]
        return credit - jnp.broadcast_to(baseline, credit.shape), memory

    return monte_carlo(policy, shards, weigh)


def monte_carlo(
    policy: Policy,
    shards: int,
    weigh: Weigh,
    initial_memory: Callable[[Any], Any] = lambda config: (),
) -> Algorithm:
    """A rung from its weights Ψ; each column of the rollout is one trajectory."""

    def init(hyper: Hyperparameters, agent: Agent) -> LearnerState:
        flat, _ = ravel_pytree(agent.params)
        opt_state = init_optimizer(hyper.optimizer, flat)
        return LearnerState(agent, opt_state, initial_memory(hyper.algo))

    def update(
        hyper: Hyperparameters,
        learner: LearnerState,
        rollout: Rollout,
        progress: Array,
        key: Array,
    ) -> tuple[LearnerState, Metrics]:
        lr = scheduled(hyper.optimizer.lr, hyper.optimizer.schedule, progress)
        num_trajectories = rollout.weight.shape[1]
        credit, memory = weigh(hyper.algo, learner.memory, rollout)
        if getattr(hyper.algo, "standardize_advantage", False):
            credit = standardize(credit, rollout.weight)
        batch = make_batch(rollout, credit, credit, shards)
        steps_per_trajectory = jnp.sum(batch.weight) / num_trajectories

        def loss(params: Params, batch: Batch) -> tuple[Array, Metrics]:
            seen = unroll(
                policy,
                params,
                batch.first_carry,
                batch.obs,
                batch.start,
                batch.action_mask,
            )
            logp = seen.dist.log_prob(batch.action)
            weighted = jnp.where(batch.weight > 0, logp * batch.advantage, 0.0)
            mean = weighted_mean(weighted, batch.weight)
            policy_loss = -mean * steps_per_trajectory
            return policy_loss, {"policy_loss": policy_loss}

        params, opt_state, metrics = run_epochs(
            loss,
            hyper.optimizer,
            lr,
            learner.agent.params,
            learner.opt_state,
            batch,
            key,
            num_epochs=1,
            num_minibatches=1,
            shards=shards,
        )
        metrics |= policy_diagnostics(policy, params, batch) | {"lr": lr}
        agent = learner.agent.replace(params=params)
        return LearnerState(agent, opt_state, memory), metrics

    return Algorithm(init, update, "episodes")
