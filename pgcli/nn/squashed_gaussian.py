"""A Gaussian whose samples a tanh maps into bounds."""

import math

import jax
import jax.numpy as jnp
from flax import struct

from pgcli.arrays.shapes import Array, Float
from pgcli.nn.distributions import DiagGaussian

NODES, REACH = 32, 6.0
"""Points of the quadrature for an entropy, and its largest distance in deviations."""


class SquashedGaussian(DiagGaussian):
    """The action low + (high − low)·(1 + tanh u)/2 for u of a Gaussian.

    Samples, modes and the actions of `log_prob` are u, the value before the tanh: the
    action would have lost it where it is rounded to a bound. `Policy.squash` computes
    the actions. Densities are those of the action.
    """

    log_scale: float = struct.field(pytree_node=False)  # Σ log((high − low)/2)

    def log_prob(self, action: Float[Array, "*batch A"]) -> Float[Array, "*batch"]:
        """Log N(u; μ, σ) − Σ log|da/du|."""
        change = jnp.sum(log_slope(action), axis=-1) + self.log_scale
        return super().log_prob(action) - change

    def entropy(self) -> Float[Array, "*batch"]:
        """H(u) + Σ E[log|da/du|].

        The expectations are integrals over one dimension each, by the trapezoidal rule
        on 32 points up to 6 σ from the mean. Its error is below 10⁻⁵ for σ ≤ 2 and
        10⁻³ for σ ≤ 3; a sample would add noise to the gradient instead.
        """
        z = jnp.linspace(-REACH, REACH, NODES)
        weights = jax.nn.softmax(-0.5 * z**2)

        spread = z.reshape(*(1,) * self.mean.ndim, NODES)
        # u [*batch, A, nodes]
        u = self.mean[..., None] + jnp.exp(self.log_std)[..., None] * spread
        expected = jnp.sum(log_slope(u) @ weights, axis=-1)
        return super().entropy() + expected + self.log_scale


def log_slope(u: Array) -> Array:
    """Log(1 − tanh² u) = 2 (log 2 − |u| − log(1 + exp(−2|u|))), finite for any u."""
    size = jnp.abs(u)
    return 2 * (math.log(2) - size - jnp.log1p(jnp.exp(-2 * size)))
