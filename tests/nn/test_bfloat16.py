"""Torsos that compute in bfloat16; all else is float32 as ever."""

import re
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.toys import CONTINUOUS, quick_jit, run_config, walk

from pgcli.config.errors import ConfigError
from pgcli.config.load import resolve
from pgcli.config.schema import NetworkConfig, NormalizeConfig
from pgcli.envs.base import Box, DeviceEnv, Discrete, EnvSpec
from pgcli.nn.policy import Policy, make_policy
from pgcli.rollout.device_collector import begin, collect
from pgcli.training.loops.base import to_words
from pgcli.training.step import init_run, learn, make_knobs, make_setup

SPECS = {
    "mlp": EnvSpec("Toy-v0", Box((4,), "float32", -9.0, 9.0), CONTINUOUS),
    "grid_cnn": EnvSpec("Toy-v0", Box((5, 5, 2), "bool", 0.0, 1.0), Discrete(3)),
    "nature_cnn": EnvSpec("Toy-v0", Box((36, 36, 2), "uint8", 0, 255), Discrete(3)),
}


def policy_of(torso: Any, dtype: Any) -> Policy:
    config = NetworkConfig(torso, (16, 16), "relu", dtype=dtype)
    return make_policy(SPECS[torso], config)


def outputs(policy: Policy, params: Any, obs: Any) -> Any:
    """(parameters of the distribution, value) of a batch of four."""
    return policy.apply(params, (), obs, jnp.zeros(4, bool))[1:]


@pytest.mark.slow
@pytest.mark.parametrize("torso", SPECS)
def test_bfloat16_outputs_are_float32_and_close_to_its(torso: str) -> None:
    half, full = policy_of(torso, "bfloat16"), policy_of(torso, "float32")
    params = quick_jit(full.init)(jax.random.key(0))
    made = jax.eval_shape(half.init, jax.random.key(0))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), made) == jax.tree.map(
        lambda x: (x.shape, x.dtype), params
    )
    assert {x.dtype.name for x in jax.tree.leaves(made)} == {"float32"}
    space = SPECS[torso].obs
    assert isinstance(space, Box)
    key = jax.random.key(1)
    pixels = jax.random.randint(key, (4, *space.shape), 0, 255)
    obs = (
        jax.random.normal(key, (4, *space.shape))
        if torso == "mlp"
        else (pixels % 2 if torso == "grid_cnn" else pixels).astype(space.dtype)
    )
    found, exact = (
        jax.tree.leaves(quick_jit(partial(outputs, policy))(params, obs))
        for policy in (half, full)
    )
    for mine, theirs in zip(found, exact, strict=True):
        assert mine.dtype == jnp.float32
        # Up to five layers round inputs, weights and sums to 2⁻⁹ of their size: 15
        # roundings that mostly cancel, at worst 3 % of the largest output.
        largest = float(jnp.abs(theirs).max())
        np.testing.assert_allclose(mine, theirs, atol=0.03 * largest)
    assert not np.array_equal(found[-1], exact[-1])  # values: it does round


def test_bfloat16_is_what_torsos_multiply_and_heads_do_not() -> None:
    policy = policy_of("mlp", "bfloat16")
    params = jax.eval_shape(policy.init, jax.random.key(0))
    jaxpr = str(jax.make_jaxpr(partial(outputs, policy))(params, jnp.zeros((4, 4))))
    products = re.findall(r":(\w+)\[[\d,]+\] = dot_general", jaxpr)
    # two torsos of two layers, then two heads
    assert sorted(products) == ["bf16"] * 4 + ["f32"] * 2


@pytest.mark.parametrize("algo", ["ppo2", pytest.param("trpo", marks=pytest.mark.slow)])
def test_bfloat16_update_is_finite_and_leaves_float32(algo: str) -> None:
    env: DeviceEnv = walk(CONTINUOUS)
    config = run_config(algo, normalize=NormalizeConfig(True, True))
    config = replace(config, network=replace(config.network, dtype="bfloat16"))
    setup, knobs = make_setup(config, env.spec), make_knobs(config)
    budget = jnp.asarray(to_words(1000))

    @quick_jit
    def run(knobs: Any, key: jax.Array) -> Any:
        before = init_run(setup, knobs, key)
        start = begin(env, setup.policy, key, setup.columns)
        agent = before.learner.agent
        _, seen = collect(env, setup.policy, agent, start, key, setup.num_steps)
        return before, learn(setup, knobs, before, seen, budget, key)

    before, (after, report) = run(knobs, jax.random.key(0))
    assert report.fault[0] == -1
    assert report.finite_params
    assert report.metrics["skipped"] == 0
    assert np.isfinite(report.metrics["value_loss"])
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert old.dtype == new.dtype != jnp.bfloat16
    old, new = (x.learner.agent.params["policy"]["Dense_0"] for x in (before, after))
    assert not np.array_equal(old["kernel"], new["kernel"])


def test_bfloat16_on_the_host_acts_by_the_compiled_network() -> None:
    def resolved(*sets: str) -> Any:
        return resolve(file=None, flags={}, sets=list(sets), use_preset=False).config

    half = "network.dtype=bfloat16"
    assert resolved().host.act == "numpy"
    assert resolved(half).host.act == "jit"
    with pytest.raises(ConfigError, match=r"no network\.dtype `bfloat16`"):
        resolved(half, "host.act=numpy")
