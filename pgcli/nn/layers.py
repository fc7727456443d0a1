"""Initialisers and dense layers."""

import functools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from pgcli.arrays.shapes import Array

GRAM_SCHMIDT_UP_TO = 2**26
"""Largest rows × columns² of a matrix that is orthogonalised column by column."""


@functools.cache
def orthogonal(gain: float) -> Callable[..., Array]:
    """Initialiser of kernels with orthonormal rows or columns, times `gain`.

    Gram-Schmidt on a normal matrix, applied twice to each column for float32. The
    distribution is that of a QR decomposition (Saxe et al., 2013, arXiv 1312.6120),
    without loading LAPACK, which takes a tenth of the start-up time of a short run. If
    Gram-Schmidt would take longer than the loading, QR is used.
    """

    def init(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        size, short = math.prod(shape), min(math.prod(shape[:-1]), shape[-1])
        decomposed = size * short > GRAM_SCHMIDT_UP_TO
        kernel: Array = gain * _orthonormal(key, shape, dtype, decomposed)
        return kernel

    return init


def kernel_init(kind: str, gain: float) -> Callable[..., Array]:
    """Initialiser of kernels: `orthogonal` with a gain, or `lecun`, which has none."""
    return nn.initializers.lecun_normal() if kind == "lecun" else orthogonal(gain)


# Jitted because Flax evaluates the shapes of all initialisers at every `apply`: they
# are traced once.
@partial(jax.jit, static_argnums=(1, 2, 3))
def _orthonormal(
    key: Array, shape: tuple[int, ...], dtype: Any, decomposed: bool
) -> Array:
    """A kernel with orthonormal rows or columns, whichever are fewer.

    Consumes the key.
    """
    num_rows, num_columns = math.prod(shape[:-1]), shape[-1]
    long, short = max(num_rows, num_columns), min(num_rows, num_columns)

    def orthonormalize(i: Array, matrix: Array) -> Array:
        column, earlier = matrix[:, i], jnp.arange(short) < i
        for _ in range(2):
            overlap = jnp.where(earlier, matrix.T @ column, 0.0)
            column = column - matrix @ overlap
        return matrix.at[:, i].set(column / jnp.linalg.norm(column))

    normal = jax.random.normal(key, (long, short), dtype)
    matrix: Array
    if decomposed:
        matrix, triangle = jnp.linalg.qr(normal)
        # signs such that the diagonal is positive, as with Gram-Schmidt
        matrix = matrix * jnp.sign(jnp.diagonal(triangle)).reshape(1, -1)
    else:
        matrix = jax.lax.fori_loop(0, short, orthonormalize, normal)
    tall = num_rows >= num_columns
    return (matrix if tall else matrix.T).reshape(shape)


FIRST_AXES = (((0,), (0,)), ((), ()))
LAST_AXES = (((1,), (1,)), ((), ()))
"""Axes over which `dot_general` sums, and none that are shared."""


@jax.custom_jvp
def product(x: Array, kernel: Array) -> Array:
    """X·W for x [B, n] and W [n, m]; the gradient in W costs no more than the product.

    That gradient is xᵀ·g = (gᵀ·x)ᵀ. If XLA folds the transposition into the product of
    two matrices, it does not use its fast CPU kernels. Materialising xᵀ or gᵀ first,
    whichever is smaller, avoids that. With m = 1 the product is one of a vector and a
    matrix, and the opposite is true.
    """
    return x @ kernel


@product.defjvp
def _product_tangent(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    (x, kernel), (dx, dkernel) = primals, tangents
    size, width = kernel.shape
    if width == 1:
        along = x @ dkernel
    elif width < size:
        # (dWᵀ·xᵀ)ᵀ, of which the transpose with respect to dW begins with gᵀ
        along = _stored(jax.lax.dot_general(_stored(dkernel.T), x, LAST_AXES)).T
    else:
        along = jax.lax.dot_general(_stored(x.T), dkernel, FIRST_AXES)
    return product(x, kernel), dx @ kernel + along


def _stored(x: Array) -> Array:
    """An array that XLA computes before it is used, as is its cotangent."""
    stored: Array = jax.lax.optimization_barrier(x)  # type: ignore[no-untyped-call]
    return stored


def _dot_general(x: Array, kernel: Array, dimensions: Any, **options: Any) -> Array:
    if x.ndim == 2:
        return product(x, kernel)
    return jax.lax.dot_general(x, kernel, dimensions, **options)


def row_of(index: Array) -> Callable[..., Array]:
    """A `dot_general` for inputs that are one-hot at `index`: rows of the kernel.

    On the CPU; on accelerators products are quick, and sums of gradients by row have no
    fixed order.
    """

    def look_up(x: Array, kernel: Array, dimensions: Any, **options: Any) -> Array:
        batch: object = x.shape[0]
        if not isinstance(batch, int):  # symbolic: an export, for any platform
            return _dot_general(x, kernel, dimensions, **options)
        rows: Array = jax.lax.platform_dependent(
            kernel,
            cpu=lambda kernel: jnp.take(kernel, index, axis=0, mode="clip"),
            default=lambda kernel: _dot_general(x, kernel, dimensions, **options),
        )
        return rows

    return look_up


def dense(
    width: int,
    init: float | Callable[..., Array],
    dtype: str = "float32",
    name: str | None = None,
    dot_general: Callable[..., Array] | None = None,
) -> nn.Dense:
    """A dense layer that computes in `dtype`, with float32 parameters.

    Args:
      width: number of outputs.
      init: initialiser of the kernel; a number is the gain of an orthogonal one.
      dtype: dtype of the computation.
      name: name of its parameters.
      dot_general: product of inputs and kernel, if it is a special one.
    """
    return nn.Dense(
        width,
        dtype=jnp.dtype(dtype),
        kernel_init=init if callable(init) else orthogonal(init),
        name=name,
        dot_general=dot_general or _dot_general,
    )
