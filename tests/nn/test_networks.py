"""Initialisation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pgcli.config.schema import NetworkConfig
from pgcli.envs.base import Box, Discrete, EnvSpec
from pgcli.errors import UsageError
from pgcli.nn.networks import orthogonal, patches, product
from pgcli.nn.policy import make_policy


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


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_patches_times_a_kernel_are_its_convolution(batch: tuple[int, ...]) -> None:
    image = jax.random.normal(jax.random.key(0), (*batch, 10, 7, 4))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 4, 16))
    ours = patches(image) @ kernel.reshape(-1, 16)
    theirs = jax.lax.conv_general_dilated(
        image.reshape(-1, 10, 7, 4),
        kernel,
        window_strides=(1, 1),
        padding="VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=jax.lax.Precision.HIGHEST,
    )
    assert ours.shape == (*batch, 8, 5, 16)
    # sums of 36 products of size 1 in float32
    assert jnp.abs(ours.reshape(theirs.shape) - theirs).max() < 2e-5


@pytest.mark.parametrize("shape", [(4,), (10, 10), (2, 10, 4)])
def test_grid_cnn_refuses_what_is_no_image(shape: tuple[int, ...]) -> None:
    spec = EnvSpec("Toy-v0", Box(shape, "float32", 0.0, 1.0), Discrete(2))
    policy = make_policy(spec, NetworkConfig("grid_cnn", (4,)))
    with pytest.raises(UsageError, match=str(list(shape)).replace("[", r"\[")):
        policy.init(jax.random.key(0))


def test_grid_cnn_has_the_filters_and_layers_of_its_configuration() -> None:
    spec = EnvSpec("Toy-v0", Box((10, 10, 4), "float32", 0.0, 1.0), Discrete(2))
    policy = make_policy(spec, NetworkConfig("grid_cnn", (32,)))
    params = jax.eval_shape(policy.init, jax.random.key(0))["policy"]
    assert params["filters"]["kernel"].shape == (3 * 3 * 4, 16)
    assert params["Dense_0"]["kernel"].shape == (8 * 8 * 16, 32)


def test_product_is_differentiated_as_a_matrix_product_both_ways() -> None:
    keys = jax.random.split(jax.random.key(0), 4)
    x, kernel = (
        jax.random.normal(k, s) for k, s in zip(keys, ((5, 3), (3, 2)), strict=False)
    )
    along = (jax.random.normal(keys[2], (5, 3)), jax.random.normal(keys[3], (3, 2)))

    def curved(multiply: Any) -> Any:
        return jax.grad(lambda x, w: jnp.sum(jnp.tanh(multiply(x, w))), argnums=(0, 1))

    ours = jax.jvp(curved(product), (x, kernel), along)
    plain = jax.jvp(curved(jnp.matmul), (x, kernel), along)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)  # rounding of sums of 5 terms
