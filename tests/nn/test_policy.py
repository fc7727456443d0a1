"""Networks and what is made of them: features, heads, noise, sequences."""

import dataclasses
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.toys import (
    CONTINUOUS,
    DISCRETE,
    TWO_KEYS,
    gated_policy,
    quick_jit,
    spec_of,
)

from pgcli.config.schema import TORSOS, NetworkConfig
from pgcli.envs.base import Box, Discrete, Space
from pgcli.errors import EnvironmentFailed
from pgcli.nn.distributions import DiagGaussian
from pgcli.nn.encoders import ACTIVATIONS
from pgcli.nn.networks import flatten_obs
from pgcli.nn.policy import Agent, Policy, draw_noise, make_policy, unroll

SMALL = NetworkConfig(hidden=(8, 8), log_std_init=-0.5)
START = np.zeros(3, bool)
OBS = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)


class Made(NamedTuple):
    policy: Policy
    params: dict
    apply: Callable


@cache
def made(action: Space = DISCRETE) -> Made:
    policy = make_policy(spec_of(action), SMALL)
    return Made(
        policy, quick_jit(policy.init)(jax.random.key(0)), quick_jit(policy.apply)
    )


def test_flatten_obs_puts_components_in_the_order_of_their_names() -> None:
    obs = {"place": jnp.array([[7.0, 8.0]]), "clock": jnp.array([3])}
    # clock counts from 1: 3 is the third of four
    np.testing.assert_array_equal(flatten_obs(TWO_KEYS, obs), [[0, 0, 1, 0, 7.0, 8.0]])


def test_flatten_obs_flattens_images_and_makes_them_float() -> None:
    space = Box((2, 2), "uint8", 0, 255)
    obs = jnp.arange(12, dtype=jnp.uint8).reshape(3, 2, 2)
    found = flatten_obs(space, obs)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, np.arange(12).reshape(3, 4))


def test_flatten_obs_takes_any_batch_axes() -> None:
    assert flatten_obs(Discrete(5), jnp.zeros((2, 3), jnp.int32)).shape == (2, 3, 5)
    assert flatten_obs(Box((4,), "float32", 0, 1), jnp.zeros(4)).shape == (4,)


def test_policy_begins_nearly_uniform() -> None:
    _, params, apply = made()
    _, dist, _ = apply(params, (), OBS, START)
    # the head's gain of 0.01 keeps logits within some hundredths
    np.testing.assert_allclose(dist.logits, 0, atol=0.05)


def test_gaussian_policy_begins_with_the_configured_spread_and_mean_near_zero() -> None:
    _, params, apply = made(CONTINUOUS)
    _, dist, value = apply(params, (), OBS, START)
    assert isinstance(dist, DiagGaussian)
    np.testing.assert_array_equal(dist.log_std, np.full((3, 1), -0.5, np.float32))
    np.testing.assert_allclose(dist.mean, 0, atol=0.05)
    assert value.shape == (3,)


def test_shared_networks_have_one_torso_and_separate_ones_two() -> None:
    def parts(shared: bool) -> set[str]:
        config = dataclasses.replace(SMALL, shared=shared)
        policy = make_policy(spec_of(), config)
        return set(jax.eval_shape(policy.init, jax.random.key(0)))

    assert parts(shared=True) == {"policy", "policy_head", "value_head"}
    assert parts(shared=False) == parts(shared=True) | {"value"}


def test_separate_networks_keep_the_value_loss_off_the_policy() -> None:
    policy, params, _ = made()

    def value(params: dict) -> jax.Array:
        return jnp.sum(
            policy.apply(params, (), jnp.asarray(OBS), jnp.asarray(START))[2]
        )

    grad = quick_jit(jax.grad(value))(params)
    for name, part in grad.items():
        moved = any(np.any(leaf) for leaf in jax.tree.leaves(part))
        assert moved == name.startswith("value"), name


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("torso", sorted(TORSOS))
def test_every_network_gives_finite_outputs(torso: str, activation: str) -> None:
    config = NetworkConfig(torso, (4,), activation)
    two_keys = {"place": jnp.ones((3, 2)), "clock": jnp.array([1, 2, 4])}
    space, obs = {
        "mlp": (TWO_KEYS, two_keys),
        "grid_cnn": (Box((5, 4, 2), "float32", 0.0, 1.0), jnp.ones((3, 5, 4, 2))),
        "nature_cnn": (Box((36, 36, 1), "float32", 0.0, 1.0), jnp.ones((3, 36, 36, 1))),
        "impala_cnn": (Box((5, 4, 2), "float32", 0.0, 1.0), jnp.ones((3, 5, 4, 2))),
    }[torso]
    policy = make_policy(spec_of(obs=space), config)

    @quick_jit
    def outputs(key: jax.Array) -> tuple:
        shapes = jax.eval_shape(policy.init, key)
        params = jax.tree.map(lambda x: 0.3 * jnp.ones(x.shape), shapes)
        _, dist, value = policy.apply(params, (), obs, jnp.asarray(START))
        return dist.logits, value

    logits, value = outputs(jax.random.key(0))
    assert logits.shape == (3, 2)
    assert value.shape == (3,)
    assert np.isfinite(logits).all()
    assert np.isfinite(value).all()


def test_box_actions_are_flattened() -> None:
    policy = make_policy(spec_of(Box((2, 3), "float32", -1, 1)), SMALL)
    params = jax.eval_shape(policy.init, jax.random.key(0))
    _, dist, _ = jax.eval_shape(policy.apply, params, (), OBS, START)
    assert dist.mean.shape == dist.log_std.shape == (3, 6)


def test_integer_box_actions_are_refused_by_name() -> None:
    with pytest.raises(EnvironmentFailed, match="no action distribution"):
        make_policy(spec_of(Box((1,), "int32", 0, 5)), SMALL)


@pytest.mark.parametrize("action", [DISCRETE, CONTINUOUS], ids=["discrete", "box"])
def test_noise_of_an_environment_depends_on_its_own_key_only(action: object) -> None:
    policy, params, _ = made(action)
    agent = Agent(params, None)
    keys = jax.random.split(jax.random.key(1), 4)
    draw = quick_jit(lambda keys: draw_noise(policy, agent, spec_of().obs, keys, 6))
    all_four = draw(keys)
    assert all_four.shape[:2] == (6, 4)
    only_two = draw(keys[np.array([3, 1])])
    np.testing.assert_array_equal(only_two, all_four[:, [3, 1]])


def test_unroll_carries_state_over_time_and_drops_it_at_starts() -> None:
    policy = gated_policy(spec_of())
    params = quick_jit(policy.init)(jax.random.key(0))
    obs = jax.random.normal(jax.random.key(1), (5, 2, 2))
    start = jnp.zeros((5, 2), bool).at[3, 1].set(True)
    carry = first = jnp.ones((2, 3))
    seen = quick_jit(partial(unroll, policy))(params, first, obs, start)
    one_step = quick_jit(policy.apply)
    for t in range(5):
        reset = start[t][:, None]
        carry, dist, value = one_step(
            params, jnp.where(reset, 0, carry), obs[t], jnp.zeros(2, bool)
        )
        np.testing.assert_allclose(seen.value[t], value, atol=1e-6)
        np.testing.assert_allclose(seen.dist.logits[t], dist.logits, atol=1e-6)
        np.testing.assert_allclose(seen.carry[t], carry, atol=1e-6)
