"""The family of algorithms that step along the natural gradient (Kakade, 2001).

The policy takes one step per rollout, in the direction F⁻¹g: g is the gradient of the
surrogate J^{θ'}(θ) = mean[ r·Â ] and F the Hessian of the mean KL(π_θ'‖π_θ), which at
θ = θ' is the Fisher matrix. The critic is fitted apart, by Adam.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from pgcli.algos.actor_critic import gae_credit
from pgcli.algos.advantage import weighted_mean
from pgcli.algos.base import Algorithm, Metrics
from pgcli.algos.batch import Batch
from pgcli.algos.conjugate_gradient import conjugate_gradient
from pgcli.algos.epochs import Loss
from pgcli.algos.surrogate import evaluate, value_loss
from pgcli.algos.update import Schedules, make_algorithm
from pgcli.arrays.shapes import Array, Float
from pgcli.nn.policy import Params, Policy
from pgcli.rollout.types import Rollout


class Problem(NamedTuple):
    """What a policy step maximises and what it costs, on flat parameters [P]."""

    surrogate: Callable[[Array], Array]  # mean[ r·Â ]
    mean_kl: Callable[[Array], Array]  # mean KL(π_θ'‖π_θ)


def make_problem(
    policy: Policy, batch: Batch, unravel: Callable[[Array], Params]
) -> Problem:
    """The problem of a whole batch; `unravel` turns flat parameters into a tree."""

    def surrogate(flat: Array) -> Array:
        now = evaluate(policy, unravel(flat), batch)
        return weighted_mean(now.ratio * now.advantage, batch.weight)

    def mean_kl(flat: Array) -> Array:
        now = evaluate(policy, unravel(flat), batch)
        return weighted_mean(now.old_dist.kl(now.dist), batch.weight)

    return Problem(surrogate, mean_kl)


class NaturalStep(NamedTuple):
    """A step whose KL is δ if the KL is quadratic."""

    full: Array  # [P]: √(2δ/xᵀ(F + damping·I)x)·x; 0 if unusable
    predicted: Array  # improvement of the surrogate by its linear model
    before: Array  # surrogate at θ'
    usable: Array  # bool: the gradient and its curvature are positive and finite
    cg_residual: Array


PolicyStep = Callable[[Any, Problem, Array], tuple[Array, Metrics]]
"""(config, problem, flat parameters) -> (flat parameters, metrics)."""


def natural_step(
    config: Any, problem: Problem, flat: Float[Array, " P"]
) -> NaturalStep:
    """The full step from `flat` along the natural gradient.

    Unusable where the gradient vanishes, or where the curvature is not positive and
    finite.
    """

    def fisher_vector(vector: Array) -> Array:
        # forward over reverse: one extra tangent, no second backward pass
        product: Array = jax.jvp(jax.grad(problem.mean_kl), (flat,), (vector,))[1]
        damped: Array = product + config.cg_damping * vector
        return damped

    # direction x with (F + damping·I)·x = g
    before, gradient = jax.value_and_grad(problem.surrogate)(flat)
    direction, residual = conjugate_gradient(
        fisher_vector, gradient, config.cg_iterations
    )

    # length: KL ≈ ½·step²·xᵀ(F + damping·I)x = δ
    curvature = direction @ fisher_vector(direction)
    usable = (curvature > 0) & jnp.isfinite(curvature) & (gradient @ gradient > 1e-16)
    scale = jnp.sqrt(2 * config.max_kl / jnp.where(usable, curvature, 1.0))
    full = jnp.where(usable, scale * direction, jnp.zeros_like(direction))
    return NaturalStep(full, gradient @ full, before, usable, residual)


def natural_gradient(policy: Policy, step: PolicyStep) -> Algorithm:
    """An algorithm from its policy step.

    The policy and value networks must not share parameters: the policy step moves
    one, Adam the other.
    """

    def policy_step(config: Any, params: Params, batch: Batch) -> tuple[Params, Any]:
        flat, unravel = ravel_pytree(params)
        flat, metrics = step(config, make_problem(policy, batch, unravel), flat)
        return unravel(flat), metrics

    def make_loss(
        config: Any, memory: Any, rollout: Rollout, schedules: Schedules
    ) -> Loss:
        # the critic's alone: its gradient is 0 in the parameters of the policy
        def loss(params: Params, batch: Batch) -> tuple[Array, Metrics]:
            now = evaluate(policy, params, batch)
            errors = value_loss(now.value, batch.value, batch.return_, None)
            loss = weighted_mean(errors, batch.weight)
            return loss, {"value_loss": loss}

        return loss

    return make_algorithm(
        policy, "steps", credit=gae_credit, make_loss=make_loss, policy_step=policy_step
    )
