"""Trust region policy optimisation (Schulman et al., 2015, arXiv 1502.05477).

    max_θ  J^{θ'}(θ) = mean[ r·Â ]   subject to   mean KL(π_θ'(·|s)‖π_θ(·|s)) ≤ δ

Natural-gradient direction by conjugate gradients on the Hessian of the mean KL, step
√(2δ/xᵀ(H + damping·I)x), then a backtracking line search on the real constraint and
objective. Lecture §6: PPO's predecessor, with the constraint outside the objective.
"""

from typing import Any

import jax
import jax.numpy as jnp

from pgcli.algos.base import Algorithm, Metrics
from pgcli.algos.natural_gradient import Problem, natural_gradient, natural_step
from pgcli.arrays.shapes import Array, Float
from pgcli.config.algorithms import TRPOConfig
from pgcli.nn.policy import Policy


def trust_region_step(
    config: TRPOConfig, problem: Problem, flat: Float[Array, " P"]
) -> tuple[Float[Array, " P"], Metrics]:
    """One constrained policy step from parameters `flat`, on the whole batch.

    Rejected if no backtracked step satisfies KL ≤ δ and improves the surrogate, or if
    the full step is unusable: the old parameters are then returned bit for bit.
    """
    natural = natural_step(config, problem, flat)

    # while_loop state: tries, accepted fraction of the full step, improvement
    def unfinished(state: Any) -> Any:
        tries, fraction, _ = state
        return (tries < config.max_backtracks) & (fraction == 0) & natural.usable

    def attempt(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        tries, _, _ = state
        fraction = config.backtrack_factor ** tries.astype(jnp.float32)
        candidate = flat + fraction * natural.full
        gained = problem.surrogate(candidate) - natural.before
        accepted = (problem.mean_kl(candidate) <= config.max_kl) & (gained > 0)
        zero = jnp.float32(0)
        return (
            tries + 1,
            jnp.where(accepted, fraction, zero),
            jnp.where(accepted, gained, zero),
        )

    # bounded, so that it runs under vmap: members that are done stand still
    start = (jnp.int32(0), jnp.float32(0), jnp.float32(0))
    _, fraction, improvement = jax.lax.while_loop(unfinished, attempt, start)
    return jnp.where(fraction > 0, flat + fraction * natural.full, flat), {
        "policy_loss": -improvement,
        "step_fraction": fraction,
        "cg_residual": natural.cg_residual,
        "predicted_improvement": fraction * natural.predicted,
        "improvement": improvement,
    }


def trpo(policy: Policy) -> Algorithm:
    """TRPO on a policy."""
    return natural_gradient(policy, trust_region_step)
