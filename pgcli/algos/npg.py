"""Natural policy gradient with steps of a fixed KL (Kakade, 2001, NIPS 14).

    θ ← θ' + √(2δ/gᵀF⁻¹g)·F⁻¹g,   g = ∇ mean[ r·Â ] at θ'

TRPO's direction and length, by conjugate gradients on the damped Fisher matrix, and no
line search: the step is taken whatever its real KL. Lecture §6: the constraint on the
behaviour, to second order only.
"""

import jax.numpy as jnp

from pgcli.algos.base import Algorithm, Metrics
from pgcli.algos.natural_gradient import Problem, natural_gradient, natural_step
from pgcli.arrays.shapes import Array, Float
from pgcli.config.algorithms import NPGConfig
from pgcli.nn.policy import Policy


def fixed_kl_step(
    config: NPGConfig, problem: Problem, flat: Float[Array, " P"]
) -> tuple[Float[Array, " P"], Metrics]:
    """One policy step from parameters `flat`, on the whole batch.

    Where the full step is unusable, the old parameters are returned bit for bit.
    """
    natural = natural_step(config, problem, flat)
    new = jnp.where(natural.usable, flat + natural.full, flat)
    # measured for the log only: nothing depends on it
    improvement = problem.surrogate(new) - natural.before
    improvement = jnp.where(natural.usable, improvement, 0.0)
    return new, {
        "policy_loss": -improvement,
        "cg_residual": natural.cg_residual,
        "predicted_improvement": natural.predicted,
        "improvement": improvement,
    }


def npg(policy: Policy) -> Algorithm:
    """Natural policy gradient on a policy."""
    return natural_gradient(policy, fixed_kl_step)
