"""Trust region policy optimisation (Schulman et al., 2015, arXiv 1502.05477).

    max_θ  J^{θ'}(θ) = mean[ r·Â ]   subject to   mean KL(π_θ'(·|s)‖π_θ(·|s)) ≤ δ

Natural-gradient direction by conjugate gradients on the Hessian of the mean KL, step
√(2δ/xᵀ(H + damping·I)x), then a backtracking line search on the real constraint and
objective. Lecture §6: PPO's predecessor, with the constraint outside the objective.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from pgcli.algos.actor_critic import see
from pgcli.algos.advantage import rollout_advantage, standardize, weighted_mean
from pgcli.algos.base import Algorithm, Hyperparameters, LearnerState, Metrics
from pgcli.algos.conjugate_gradient import conjugate_gradient
from pgcli.algos.minibatch import Batch, make_batch, run_epochs
from pgcli.algos.optimizer import init_optimizer, scheduled
from pgcli.algos.surrogate import update_diagnostics, value_loss
from pgcli.arrays.shapes import Array, Float
from pgcli.config.algorithms import TRPOConfig
from pgcli.nn.policy import Agent, Params, Policy
from pgcli.rollout.types import Rollout


class Step(NamedTuple):
    """A trust-region step, taken or not."""

    flat: Array  # parameters: the old ones bit for bit where rejected
    fraction: Array  # of the full step; 0 where rejected
    cg_residual: Array
    predicted: Array  # improvement of the surrogate by its linear model
    improvement: Array  # as measured


def trust_region_step(
    config: TRPOConfig,
    policy: Policy,
    flat: Float[Array, " P"],
    batch: Batch,
    unravel: Any,
) -> Step:
    """One constrained policy step from parameters `flat`, on the whole batch.

    Rejected where no backtracked step satisfies KL ≤ δ and improves the surrogate,
    where the gradient vanishes, or where the curvature is not positive and finite.
    """

    def surrogate(flat: Array) -> Array:
        sample, _ = see(policy, unravel(flat), batch)
        return weighted_mean(sample.ratio * sample.advantage, batch.weight)

    def mean_kl(flat: Array) -> Array:
        sample, _ = see(policy, unravel(flat), batch)
        return weighted_mean(sample.old_dist.kl(sample.dist), batch.weight)

    def hessian_vector(vector: Array) -> Array:
        # forward over reverse: one extra tangent, no second backward pass
        product: Array = jax.jvp(jax.grad(mean_kl), (flat,), (vector,))[1]
        damped: Array = product + config.cg_damping * vector
        return damped

    before, gradient = jax.value_and_grad(surrogate)(flat)
    direction, residual = conjugate_gradient(
        hessian_vector, gradient, config.cg_iterations
    )
    curvature = direction @ hessian_vector(direction)
    usable = (curvature > 0) & jnp.isfinite(curvature) & (gradient @ gradient > 1e-16)
    scale = jnp.sqrt(2 * config.max_kl / jnp.where(usable, curvature, 1.0))
    full = jnp.where(usable, scale * direction, jnp.zeros_like(direction))

    def going(state: Any) -> Any:
        tries, fraction, _ = state
        return (tries < config.max_backtracks) & (fraction == 0) & usable

    def attempt(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        tries, _, _ = state
        fraction = config.backtrack_factor ** tries.astype(jnp.float32)
        candidate = flat + fraction * full
        gained = surrogate(candidate) - before
        accepted = (mean_kl(candidate) <= config.max_kl) & (gained > 0)
        zero = jnp.float32(0)
        return (
            tries + 1,
            jnp.where(accepted, fraction, zero),
            jnp.where(accepted, gained, zero),
        )

    start = (jnp.int32(0), jnp.float32(0), jnp.float32(0))
    _, fraction, improvement = jax.lax.while_loop(going, attempt, start)
    return Step(
        jnp.where(fraction > 0, flat + fraction * full, flat),
        fraction,
        residual,
        fraction * (gradient @ full),
        improvement,
    )


def trpo(policy: Policy, shards: int) -> Algorithm:
    """TRPO on a policy; `shards` is the number of rows that batches are kept in.

    The policy and value networks must not share parameters: the policy step moves
    one, Adam the other.
    """

    def init(hyper: Hyperparameters, agent: Agent) -> LearnerState:
        flat, _ = ravel_pytree(agent.params)
        return LearnerState(agent, init_optimizer(hyper.optimizer, flat), ())

    def critic_loss(params: Params, batch: Batch) -> tuple[Array, Metrics]:
        _, value = see(policy, params, batch)
        errors = value_loss(value, batch.value, batch.return_, None)
        loss = weighted_mean(errors, batch.weight)
        return loss, {"value_loss": loss}

    def update(
        hyper: Hyperparameters,
        learner: LearnerState,
        rollout: Rollout,
        progress: Array,
        key: Array,
    ) -> tuple[LearnerState, Metrics]:
        config = hyper.algo
        lr = scheduled(hyper.optimizer.lr, hyper.optimizer.schedule, progress)
        advantage, return_ = rollout_advantage(rollout, config.gamma, config.gae_lambda)
        if config.standardize_advantage:
            advantage = standardize(advantage, rollout.weight)
        batch = make_batch(rollout, advantage, return_, shards)
        flat, unravel = ravel_pytree(learner.agent.params)
        step = trust_region_step(config, policy, flat, batch, unravel)
        params, opt_state, metrics = run_epochs(
            critic_loss,
            hyper.optimizer,
            lr,
            unravel(step.flat),
            learner.opt_state,
            batch,
            key,
            num_epochs=config.num_epochs,
            num_minibatches=config.num_minibatches,
            shards=shards,
        )
        metrics |= update_diagnostics(policy, params, batch) | {
            "policy_loss": -step.improvement,
            "step_fraction": step.fraction,
            "cg_residual": step.cg_residual,
            "predicted_improvement": step.predicted,
            "improvement": step.improvement,
            "lr": lr,
        }
        agent = learner.agent.replace(params=params)
        return learner.replace(agent=agent, opt_state=opt_state), metrics

    return Algorithm(init, update, "steps")
