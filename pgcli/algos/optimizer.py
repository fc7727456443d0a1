"""The optimiser: Adam on one flat parameter vector, and the schedules."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from pgcli.arrays.shapes import Array, Bool, Float
from pgcli.config.algorithms import Schedule
from pgcli.config.schema import OptimizerConfig


def _adam(config: OptimizerConfig) -> optax.GradientTransformation:
    return optax.scale_by_adam(config.beta1, config.beta2, config.eps)


def init_optimizer(config: OptimizerConfig, flat: Float[Array, " P"]) -> Any:
    """Adam's state for a flat parameter vector."""
    return _adam(config).init(flat)


def scheduled(value: Array | float, schedule: Schedule, progress: Array) -> Array:
    """A hyperparameter at `progress` in [0, 1]: constant, or linear to 0."""
    factor = 1 - progress if schedule == "linear" else jnp.ones_like(progress)
    return value * factor


def clip_norm(
    grad: Float[Array, " P"], norm: Float[Array, ""], max_norm: Array | float | None
) -> Float[Array, " P"]:
    """The gradient, scaled down if its global norm exceeds `max_norm`.

    Scaling keeps the direction; element-wise clipping would change it (Pascanu et al.,
    2013, arXiv 1211.5063).
    """
    if max_norm is None:
        return grad
    return grad * jnp.minimum(1.0, max_norm / jnp.maximum(norm, 1e-12))


def descend(
    config: OptimizerConfig,
    lr: Float[Array, ""],
    flat: Float[Array, " P"],
    opt_state: Any,
    grad: Float[Array, " P"],
    allowed: Bool[Array, ""],
) -> tuple[Float[Array, " P"], Any, Float[Array, ""], Bool[Array, ""]]:
    """One Adam step down the gradient, or none at all.

    Args:
      config: Adam's constants and the bound on the global norm.
      lr: learning rate.
      flat: parameters.
      opt_state: Adam's state.
      grad: gradient of the loss.
      allowed: if false, parameters and optimiser stay the same bit for bit.

    Returns:
      (flat, opt_state, norm before clipping, whether the step was taken): a gradient
      that is not finite is never applied.
    """
    norm = jnp.sqrt(jnp.sum(grad**2))
    taken = allowed & jnp.isfinite(norm)
    clipped = clip_norm(grad, norm, config.max_grad_norm)
    with jax.numpy_dtype_promotion("standard"):
        direction, new_state = _adam(config).update(clipped, opt_state)
    new = flat - lr * direction

    # a mask and no branch, so that it works under vmap

    def choose(new: Array, old: Array) -> Array:
        return jnp.where(taken, new, old)

    return choose(new, flat), jax.tree.map(choose, new_state, opt_state), norm, taken
