"""Initialisation."""

import jax
import jax.numpy as jnp
import pytest

from pgcli.nn.networks import orthogonal


@pytest.mark.parametrize("shape", [(64, 64), (4, 64), (64, 2), (64, 1), (3, 3, 2, 8)])
def test_orthogonal_kernels_have_orthonormal_rows_or_columns(
    shape: tuple[int, ...],
) -> None:
    kernel = orthogonal(2.0)(jax.random.key(0), shape).reshape(-1, shape[-1])
    tall = kernel.shape[0] >= kernel.shape[1]
    gram = kernel.T @ kernel if tall else kernel @ kernel.T
    # float32 sums of up to 64 products: 1e-5 is some ten roundings of 4
    assert jnp.abs(gram - 4 * jnp.eye(len(gram))).max() < 1e-5


def test_orthogonal_columns_point_everywhere() -> None:
    # the mean of 2,000 uniform directions in the plane is about 1/√2000 = 0.02 long
    keys = jax.random.split(jax.random.key(0), 2000)
    firsts = jax.vmap(lambda key: orthogonal(1.0)(key, (2, 2))[:, 0])(keys)
    assert jnp.linalg.norm(firsts.mean(axis=0)) < 0.08
