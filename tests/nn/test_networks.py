"""Initialisation, and convolutions in all their forms."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.toys import quick_jit

from pgcli.config.schema import NetworkConfig
from pgcli.envs.base import Box, Discrete, EnvSpec
from pgcli.errors import UsageError
from pgcli.nn import layers
from pgcli.nn.convolution import (
    CACHED_IMAGES,
    as_convolution,
    as_products,
    in_blocks,
    patches,
)
from pgcli.nn.layers import orthogonal, product
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


@pytest.mark.parametrize("shape", [(12, 5), (5, 12)])
def test_orthogonal_of_a_large_matrix_is_the_same(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    column_by_column = orthogonal(2.0)(jax.random.key(0), shape)
    monkeypatch.setattr(layers, "GRAM_SCHMIDT_UP_TO", 0)
    # a decomposition with a positive diagonal is unique; some ten roundings of 1
    decomposed = orthogonal(2.0)(jax.random.key(0), shape)
    np.testing.assert_allclose(decomposed, column_by_column, atol=2e-6)


def test_orthogonal_columns_point_everywhere() -> None:
    # the mean of 2,000 uniform directions in the plane is about 1/√2000 = 0.02 long
    keys = jax.random.split(jax.random.key(0), 2000)
    firsts = quick_jit(jax.vmap(lambda key: orthogonal(1.0)(key, (2, 2))[:, 0]))(keys)
    assert jnp.linalg.norm(firsts.mean(axis=0)) < 0.08


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_patches_times_a_kernel_are_its_convolution(batch: tuple[int, ...]) -> None:
    drawn = np.random.default_rng(0)
    image = drawn.normal(size=(*batch, 10, 7, 4)).astype(np.float32)
    kernel = drawn.normal(size=(3, 3, 4, 16)).astype(np.float32)

    @quick_jit
    def both(image: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
        return patches(image) @ kernel.reshape(-1, 16), jax.lax.conv_general_dilated(
            image.reshape(-1, 10, 7, 4),
            kernel,
            window_strides=(1, 1),
            padding="VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=jax.lax.Precision.HIGHEST,
        )

    ours, theirs = both(image, kernel)
    assert ours.shape == (*batch, 8, 5, 16)
    # sums of 36 products of size 1 in float32
    assert jnp.abs(ours.reshape(theirs.shape) - theirs).max() < 2e-5


@pytest.mark.parametrize("shape", [(4,), (10, 10), (2, 10, 2)])
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


FRAMES = Box((4, 84, 84), "uint8", 0.0, 255.0)
NATURE = NetworkConfig("nature_cnn", (16,), "relu", shared=True)


@pytest.mark.parametrize(("size", "stride"), [(8, 4), (3, 1)])
def test_products_are_the_convolution_and_so_is_their_gradient(
    size: int, stride: int
) -> None:
    drawn = np.random.default_rng(0)
    image = drawn.normal(size=(2, 21, 18, 3)).astype(np.float32)
    kernel = drawn.normal(size=(size, size, 3, 5)).astype(np.float32)

    def with_gradient(form: Callable[..., jax.Array]) -> Any:
        # every output counts differently, so that none can stand for another
        def total(image: jax.Array, kernel: jax.Array) -> tuple[jax.Array, jax.Array]:
            found = form(image, kernel, stride)
            by = jnp.cos(jnp.arange(found.size)).reshape(found.shape)
            return jnp.sum(found * by), found

        return jax.grad(total, (0, 1), has_aux=True)

    @quick_jit
    def both(image: jax.Array, kernel: jax.Array) -> tuple[Any, Any]:
        return tuple(
            with_gradient(form)(image, kernel) for form in (as_products, as_convolution)
        )

    with jax.default_matmul_precision("highest"):
        ours, theirs = both(image, kernel)
    # gradients of the kernel are sums of up to 2·20·17 products of size 1
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert mine.shape == other.shape
        assert jnp.abs(mine - other).max() < 1e-5 * max(1, jnp.abs(other).max())


def test_blocks_are_the_whole_with_a_rest() -> None:
    batch = jnp.arange(7.0).reshape(7, 1)
    seen: list[int] = []

    def double(part: jax.Array) -> jax.Array:
        seen.append(len(part))
        return 2 * part

    np.testing.assert_array_equal(in_blocks(double, batch, 3), 2 * batch)
    assert sorted(seen) == [1, 3]
    seen.clear()
    np.testing.assert_array_equal(in_blocks(double, batch, 4), 2 * batch)
    assert seen == [7]


def test_nature_cnn_is_the_published_one_on_either_layout() -> None:
    """By XLA's convolution with the parameters written out, 40 frames in two blocks."""
    policy = make_policy(EnvSpec("Toy-v0", FRAMES, Discrete(6)), NATURE)
    last = dataclasses.replace(FRAMES, shape=(84, 84, 4))
    other = make_policy(EnvSpec("Toy-v0", last, Discrete(6)), NATURE)
    params = quick_jit(policy.init)(jax.random.key(0))
    shapes = jax.tree.map(jnp.shape, params["policy"])
    assert shapes["filters_0"] == (8, 8, 4, 32)
    assert shapes["filters_1"] == (4, 4, 32, 64)
    assert shapes["filters_2"] == (3, 3, 64, 64)
    assert shapes["Dense_0"]["kernel"] == (7 * 7 * 64, 16)
    assert jax.tree.map(jnp.shape, jax.eval_shape(other.init, jax.random.key(0))) == (
        jax.tree.map(jnp.shape, params)
    )
    key = jax.random.key(1)
    frames = jax.random.randint(key, (40, 4, 84, 84), 0, 256).astype(jnp.uint8)

    def published(params: Any, frames: jax.Array) -> jax.Array:
        torso, x = params["policy"], frames.transpose(0, 2, 3, 1)
        x = x.astype(jnp.float32) / 255
        for i, stride in enumerate((4, 2, 1)):
            x = as_convolution(x, torso[f"filters_{i}"], stride)
            x = jax.nn.relu(x + torso[f"filters_{i}_bias"].reshape(1, 1, 1, -1))
        x = x.reshape(40, -1) @ torso["Dense_0"]["kernel"]
        head = params["policy_head"]["kernel"]
        logits: jax.Array = jax.nn.relu(x) @ head
        return logits

    @jax.jit
    def compared(params: Any, frames: jax.Array) -> Any:
        start = jnp.zeros(40, bool)
        _, ours, _ = policy.apply(params, (), frames, start)
        _, same, _ = other.apply(params, (), frames.transpose(0, 2, 3, 1), start)
        return ours.logits, same.logits, published(params, frames)

    ours, same, theirs = compared(params, frames)
    assert jnp.std(theirs) > 1e-3  # it does say something
    # the head's small kernel makes logits of some 0.01
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    np.testing.assert_allclose(same, theirs, atol=1e-6)


def test_nature_cnn_is_lowered_to_products_on_the_cpu_and_convolutions_elsewhere() -> (
    None
):
    policy = make_policy(EnvSpec("Toy-v0", FRAMES, Discrete(6)), NATURE)
    params = jax.eval_shape(policy.init, jax.random.key(0))
    frames = jax.ShapeDtypeStruct((64, 4, 84, 84), jnp.uint8)

    def logits(params: Any, frames: jax.Array) -> jax.Array:
        return policy.apply(params, (), frames, jnp.zeros(64, bool))[1].logits

    traced = jax.jit(logits).trace(params, frames)
    for platform, convolves in (("cpu", False), ("cuda", True), ("tpu", True)):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        assert ("stablehlo.convolution" in text) == convolves, platform


@pytest.mark.parametrize("shape", [(4,), (35, 84, 4), (4, 84, 35)])
def test_nature_cnn_refuses_what_is_no_image(shape: tuple[int, ...]) -> None:
    spec = EnvSpec("Toy-v0", Box(shape, "uint8", 0.0, 255.0), Discrete(2))
    with pytest.raises(UsageError, match=str(list(shape)).replace("[", r"\[")):
        make_policy(spec, NATURE).init(jax.random.key(0))


def test_product_is_differentiated_as_a_matrix_product_both_ways() -> None:
    drawn = np.random.default_rng(0)
    widths = 1, 2, 4  # a column, narrower and wider than the inputs
    # (inputs, kernels of all widths) and directions for each of them
    at, along = (
        [drawn.normal(size=shape).astype(np.float32) for shape in shapes]
        for shapes in 2 * [[(5, 3), *((3, width) for width in widths)]]
    )

    def curved(multiply: Any) -> Any:
        return jax.grad(lambda x, w: jnp.sum(jnp.tanh(multiply(x, w))), argnums=(0, 1))

    @quick_jit
    def both(at: Any, along: Any) -> Any:
        return [
            [
                jax.jvp(curved(f), (at[0], w), (along[0], dw))
                for w, dw in zip(at[1:], along[1:], strict=True)
            ]
            for f in (product, jnp.matmul)
        ]

    ours, plain = both(at, along)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)  # rounding of sums of 5 terms


SIZES = {"grid_cnn": 4, "nature_cnn": 36, "impala_cnn": 8}


@pytest.mark.parametrize(
    "torso",
    ["grid_cnn", *(pytest.param(x, marks=pytest.mark.slow) for x in list(SIZES)[1:])],
)
def test_convolutions_on_an_accelerator_are_those_of_the_cpu(
    torso: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, count = SIZES[torso], 2 * CACHED_IMAGES + 3  # two blocks and a remainder
    obs = Box((size, size, 2), "uint8", 0, 255)
    network = NetworkConfig(torso=torso, hidden=(8,))
    policy = make_policy(EnvSpec("Toy-v0", obs, Discrete(3)), network)
    params = quick_jit(policy.init)(jax.random.key(0))
    drawn = np.random.default_rng(0).integers(0, 256, (count, *obs.shape), np.uint8)
    images = jnp.asarray(drawn)

    def total(params: Any) -> Any:
        _, dist, value = policy.apply(params, (), images, jnp.zeros(count, bool))
        by = jnp.cos(jnp.arange(count))
        return jnp.sum(by * (value + dist.logits[:, 0])), (value, dist.logits)

    def with_gradient() -> Any:
        return quick_jit(jax.value_and_grad(lambda params: total(params), has_aux=True))

    cpu = with_gradient()(params)
    monkeypatch.setattr(
        jax.lax, "platform_dependent", lambda *x, cpu, default: default(*x)
    )
    elsewhere = with_gradient()(params)
    # sums of up to 64 · 9 products, of some hundred samples
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(
            a, b, rtol=1e-4, atol=1e-5 * max(1, np.abs(a).max())
        ),
        cpu,
        elsewhere,
    )
