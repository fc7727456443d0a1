"""Conjugate gradients, in a bounded loop that works under jit and vmap."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from pgcli.arrays.shapes import Array, Float


def conjugate_gradient(
    matvec: Callable[[Array], Array], b: Float[Array, " P"], iterations: int
) -> tuple[Float[Array, " P"], Float[Array, ""]]:
    """(x, ‖b − Ax‖) after a number of iterations towards Ax = b.

    Hestenes and Stiefel (1952), from x = 0. Once the residual or the curvature is no
    longer positive, the remaining iterations change nothing, so that an exact solution
    never leads to a division by zero.

    Args:
      matvec: x -> Ax for a symmetric positive definite A.
      b: the right-hand side.
      iterations: number of iterations.
    """

    def step(_: Array, state: tuple[Array, Array, Array, Array]) -> tuple[Array, ...]:
        x, residual, direction, square = state
        # step length α along the direction: exact minimum of ½xᵀAx − bᵀx
        product = matvec(direction)
        curvature = direction @ product
        useful = (curvature > 0) & (square > 0)
        alpha = jnp.where(useful, square / jnp.where(useful, curvature, 1.0), 0.0)
        x = x + alpha * direction
        residual = residual - alpha * product
        # next direction: the residual, conjugate to all earlier directions
        new_square = residual @ residual
        beta = jnp.where(useful, new_square / jnp.where(useful, square, 1.0), 0.0)
        direction = jnp.where(useful, residual + beta * direction, direction)
        return x, residual, direction, jnp.where(useful, new_square, square)

    start = (jnp.zeros_like(b), b, b, b @ b)
    x, residual, _, _ = jax.lax.fori_loop(0, iterations, step, start)
    return x, jnp.sqrt(residual @ residual)
