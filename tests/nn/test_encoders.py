"""Encoders per part of an observation, and the torsos made of them."""

import dataclasses
import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.toys import quick_jit, spec_of

from pgcli.arrays.shared import shared
from pgcli.config.schema import NetworkConfig
from pgcli.envs.base import Box, Discrete, MultiDiscrete, ObsSpace
from pgcli.envs.obs_parts import image_layout
from pgcli.errors import UsageError
from pgcli.nn import encoders
from pgcli.nn.convolution import max_pool
from pgcli.nn.encoders import encoders_of, not_normalized
from pgcli.nn.layers import kernel_init
from pgcli.nn.networks import ROWS_FROM
from pgcli.nn.normalize import init_obs_stats, normalize_obs
from pgcli.nn.policy import Policy, make_policy, zero_obs

PICTURE = Box((36, 40, 3), "uint8", 0.0, 255.0)
GRID = Box((5, 4, 3), "uint8", 0.0, 255.0)
VECTOR = Box((2,), "float32", -1.0, 1.0)
PARTS = {
    "picture": PICTURE,
    "grid": GRID,
    "vector": VECTOR,
    "choice": Discrete(4),
    "choices": MultiDiscrete((2,), (2, 3), (0, 1)),
}


def policy_of(space: ObsSpace, torso: str, **network: Any) -> Policy:
    config = NetworkConfig(torso, (8,), "relu", shared=True, **network)
    return make_policy(spec_of(obs=space), config)


def shapes(policy: Policy) -> Any:
    params = jax.eval_shape(policy.init, jax.random.key(0))
    return jax.tree.map(jnp.shape, params["policy"])


def test_every_part_has_its_encoder_and_features_are_concatenated() -> None:
    policy = policy_of(PARTS, "nature_cnn", encoders={"grid": "grid_cnn"})
    layers = shapes(policy)
    assert layers["encoder_picture"]["filters_0"] == (8, 8, 3, 32)
    assert layers["encoder_grid"]["filters"]["kernel"] == (3 * 3 * 3, 16)
    # one-hot of 4, and of 2 + 3; the grid leaves 3 × 2 windows, the picture 1 × 1
    assert layers["Dense_0"]["kernel"] == (4 + 5 + 3 * 2 * 16 + 64 + 2, 8)


def test_parts_of_a_dict_are_encoded_as_the_undivided_image_is() -> None:
    space = {"image": GRID, "other": VECTOR}
    policy, alone = policy_of(space, "grid_cnn"), policy_of(GRID, "grid_cnn")
    rng = np.random.default_rng(0)
    image: Any = rng.integers(0, 255, (6, *GRID.shape)).astype(np.uint8)
    other = jnp.asarray(rng.normal(size=(6, 2)), jnp.float32)
    image, start = jnp.asarray(image), jnp.zeros(6, bool)

    @quick_jit
    def both(key: Any) -> Any:
        params = alone.init(key)
        # weights of 0 for the vector, whose features come last
        torso = params["policy"]
        kernel = torso["Dense_0"]["kernel"]
        kernel = jnp.concatenate([kernel, jnp.zeros((2, 8))])
        moved = {
            "encoder_image": {"filters": torso["filters"]},
            "Dense_0": {**torso["Dense_0"], "kernel": kernel},
        }
        obs = {"image": image, "other": other}
        value = policy.apply({**params, "policy": moved}, (), obs, start)[2]
        return value, alone.apply(params, (), image, start)[2]

    value, expected = both(jax.random.key(0))
    np.testing.assert_allclose(value, expected, rtol=1e-4)  # other order of sums


def test_dict_without_images_or_with_mlp_has_dense_layers_only() -> None:
    space = {key: part for key, part in PARTS.items() if "choice" in key}
    assert set(shapes(policy_of(space, "mlp"))) == {"Dense_0"}
    assert set(shapes(policy_of({"i": GRID, "v": VECTOR}, "mlp"))) == {"Dense_0"}
    assert not not_normalized(NetworkConfig(), PARTS)


def test_many_categories_are_rows_of_the_first_layer_as_one_hot_products_are() -> None:
    spaces = Discrete(ROWS_FROM, start=2), Box((ROWS_FROM,), "float32", 0.0, 1.0)
    policies = [policy_of(space, "mlp") for space in spaces]
    index, start = jnp.array([2, 7, 2 + ROWS_FROM - 1, 7]), jnp.zeros(4, bool)
    observed = index, jax.nn.one_hot(index - 2, ROWS_FROM)
    params = policies[1].init(jax.random.key(0))

    def loss(params: Any, policy: Policy, obs: Any) -> Any:
        value = policy.apply(params, (), obs, start)[2]
        return value @ jnp.arange(1.0, 5.0)

    @quick_jit
    def both(params: Any) -> Any:
        pairs = zip(policies, observed, strict=True)
        return [jax.value_and_grad(loss)(params, *pair) for pair in pairs]

    rows, products = both(params)
    # other order of sums, of 2 terms and zeros
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6), rows, products)
    assert np.any(rows[1]["policy"]["Dense_0"]["kernel"], axis=1).sum() == 3


def test_pictures_with_an_encoder_are_not_normalized_and_stay_bytes() -> None:
    config = NetworkConfig("nature_cnn", encoders={"grid": "grid_cnn"})
    left_out = not_normalized(config, PARTS)
    assert left_out == {"picture"}
    normal = jax.eval_shape(
        lambda: normalize_obs(
            init_obs_stats(PARTS, 10.0, left_out), zero_obs(PARTS, (3,))
        )
    )
    assert {key: str(x.dtype) for key, x in normal.items()} == {
        "picture": "uint8",
        "grid": "float32",  # its numbers are codes, not brightness
        "vector": "float32",
        "choice": "int32",
        "choices": "int32",
    }


@pytest.mark.parametrize(
    ("shape", "channels", "layout"),
    [
        ((84, 84, 3), "auto", ((84, 84, 3), False)),
        ((4, 84, 84), "auto", ((84, 84, 4), True)),
        ((7, 7, 20), "auto", ((7, 7, 20), False)),
        ((3, 3, 3), "auto", ((3, 3, 3), False)),
        ((20, 7, 7), "first", ((7, 7, 20), True)),
        ((4, 84, 84), "last", ((4, 84, 84), False)),
        ((84, 96), "auto", ((84, 96, 1), False)),
        ((84, 96), "first", ((84, 96, 1), False)),
        ((4, 84, 96, 3), "auto", ((84, 96, 12), False)),
        ((4, 3, 84, 96), "auto", ((84, 96, 12), True)),
    ],
)
def test_channels_are_the_first_axis_if_it_is_the_shortest(
    shape: tuple[int, ...], channels: str, layout: Any
) -> None:
    assert image_layout(Box(shape, "uint8", 0.0, 255.0), channels) == layout


def test_small_images_have_the_same_features_in_either_layout() -> None:
    first = dataclasses.replace(GRID, shape=(2, 5, 4))
    last = dataclasses.replace(GRID, shape=(5, 4, 2))
    policies = [policy_of(space, "grid_cnn") for space in (first, last)]
    drawn = np.random.default_rng(0).integers(0, 255, (3, 2, 5, 4))
    image = jnp.asarray(drawn, jnp.uint8)

    @quick_jit
    def values(key: Any) -> list[Any]:
        images = image, image.transpose(0, 2, 3, 1)
        params, start = policies[0].init(key), jnp.zeros(3, bool)
        return [
            policy.apply(params, (), x, start)[2]
            for policy, x in zip(policies, images, strict=True)
        ]

    by_first, by_last = values(jax.random.key(0))
    np.testing.assert_allclose(by_first, by_last, rtol=1e-5)
    assert np.std(by_first) > 0


def test_grey_and_stacked_images_are_images_of_one_and_more_channels() -> None:
    grey, plain = (
        dataclasses.replace(PICTURE, shape=x) for x in ((36, 40), (36, 40, 1))
    )
    stack = dataclasses.replace(PICTURE, shape=(2, 36, 40, 3))
    first = dataclasses.replace(PICTURE, shape=(2, 3, 36, 40))
    joined = dataclasses.replace(PICTURE, shape=(36, 40, 6))
    key = jax.random.key(0)
    frames = jax.random.randint(key, (1, 2, 36, 40, 3), 0, 256).astype(jnp.uint8)
    cases = [
        (plain, frames[:, 0, ..., :1]),
        (grey, frames[:, 0, ..., 0]),
        (joined, jnp.concatenate([frames[:, 0], frames[:, 1]], axis=-1)),
        (stack, frames),
        (first, frames.transpose(0, 1, 4, 2, 3)),
    ]

    @quick_jit
    def values(key: Any) -> list[Any]:
        policies = [policy_of(space, "grid_cnn") for space, _ in cases]
        params = [policies[i].init(key) for i in (0, 2)]
        return [
            policy.apply(params[i > 1], (), obs, jnp.zeros(1, bool))[2]
            for i, (policy, (_, obs)) in enumerate(zip(policies, cases, strict=True))
        ]

    one, same, two, both, other = values(key)
    np.testing.assert_allclose(same, one, rtol=1e-5)
    np.testing.assert_allclose([both, other], [two, two], rtol=1e-5)
    assert abs(two) > 1e-4


@pytest.mark.parametrize(
    ("space", "network", "message"),
    [
        (PARTS, {"encoders": {"pixels": "grid_cnn"}}, "no part `pixels`"),
        (PARTS, {"encoders": {"vector": "grid_cnn"}}, "needs images .* got shape"),
        (GRID, {"encoders": {"grid": "grid_cnn"}}, "no part `grid`"),
        (PARTS, {"torso": "nature_cnn"}, "at least 36 × 36 pixels; got"),
        ({"v": VECTOR}, {"torso": "nature_cnn"}, "needs images"),
    ],
)
def test_encoders_that_do_not_fit_are_refused(
    space: ObsSpace, network: Any, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        jax.eval_shape(
            make_policy(spec_of(obs=space), NetworkConfig(**network)).init,
            jax.random.key(0),
        )
    assert raised.value.help


@pytest.mark.parametrize("size", [(6, 7), (1, 2)])
def test_max_pool_is_that_of_xla_with_same_padding(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    expected = jax.lax.reduce_window(
        image, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME"
    )
    np.testing.assert_array_equal(max_pool(jnp.asarray(image)), expected)


def test_impala_cnn_is_the_published_one_on_either_layout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By XLA's operations, with the parameters in the order of the paper's figure."""
    space = dataclasses.replace(GRID, shape=(9, 8, 3))
    layers = shapes(policy_of(space, "impala_cnn"))
    assert [layers[f"filters_{i}"][-1] for i in range(15)] == [16] * 5 + [32] * 10
    assert layers["Dense_0"]["kernel"] == (2 * 1 * 32, 8)
    # one narrow section, which compiles in a tenth of the time
    monkeypatch.setattr(encoders, "IMPALA_SECTIONS", (3,))
    policy = policy_of(space, "impala_cnn")
    other = policy_of(dataclasses.replace(space, shape=(3, 9, 8)), "impala_cnn")
    drawn = np.random.default_rng(0).integers(0, 255, (2, 9, 8, 3))
    images = jnp.asarray(drawn, jnp.uint8)

    def published(params: Any) -> jax.Array:
        count = iter(range(5))

        def layer(x: jax.Array) -> jax.Array:
            i = next(count)
            return jax.lax.conv_general_dilated(
                x, params[f"filters_{i}"], (1, 1), "SAME",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            ) + params[f"filters_{i}_bias"].reshape(1, 1, 1, -1)  # fmt: skip

        x = images.astype(jnp.float32) / 255
        x = jax.lax.reduce_window(
            layer(x), -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME"
        )
        for _ in range(2):
            x = x + layer(jax.nn.relu(layer(jax.nn.relu(x))))
        x = jax.nn.relu(x).reshape(2, -1) @ params["Dense_0"]["kernel"]
        return jax.nn.relu(x)

    @quick_jit
    def both(key: Any) -> Any:
        params = policy.init(key)
        value = policy.apply(params, (), images, jnp.zeros(2, bool))[2]
        first = images.transpose(0, 3, 1, 2)
        same = other.apply(params, (), first, jnp.zeros(2, bool))[2]
        expected = published(params["policy"]) @ params["value_head"]["kernel"]
        return value, same, expected

    value, same, expected = both(jax.random.key(0))
    np.testing.assert_allclose(value, same, rtol=1e-5)
    assert np.std(expected) > 0
    np.testing.assert_allclose(value, expected[:, 0], rtol=1e-3, atol=1e-5)


def test_layer_norm_makes_outputs_independent_of_the_scale() -> None:
    policy = policy_of(VECTOR, "mlp", layer_norm=True)
    obs = jax.random.normal(jax.random.key(1), (5, 2))

    @quick_jit
    def values(key: Any) -> Any:
        params, start = policy.init(key), jnp.zeros(5, bool)
        return [policy.apply(params, (), k * obs, start)[2] for k in (1.0, 100.0)]

    small, large = values(jax.random.key(0))
    # equal but for the 1e-6 that is added to the variance
    np.testing.assert_allclose(small, large, atol=1e-3)


def test_lecun_weights_have_the_variance_of_one_input() -> None:
    kernel = np.asarray(kernel_init("lecun", 1.0)(jax.random.key(0), (100, 200)))
    # 20,000 numbers: the deviation's own is 1/√40,000 of it
    assert math.isclose(kernel.std(), 100**-0.5, rel_tol=0.03)


def test_encoders_of_images_are_the_torso_unless_chosen() -> None:
    config = NetworkConfig("nature_cnn", encoders={"grid": "mlp"})
    assert encoders_of(config, PARTS) == {
        "choice": "mlp",
        "choices": "mlp",
        "grid": "mlp",
        "picture": "nature_cnn",
        "vector": "mlp",
    }


def test_runs_of_one_process_share_the_policy_of_equal_configurations() -> None:
    one, same = (
        NetworkConfig(encoders={"a": "mlp"}),
        NetworkConfig(encoders={"a": "mlp"}),
    )
    other, spec = NetworkConfig(encoders={"b": "mlp"}), spec_of()
    assert hash(one) == hash(same)

    def make(spec: Any, config: NetworkConfig) -> list[str]:
        return [*config.encoders]

    assert shared(make, spec, one) is shared(make, spec, same)
    assert shared(make, spec, other) == ["b"]
