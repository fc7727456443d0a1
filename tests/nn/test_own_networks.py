"""Networks of the user, from modules given with `--network-module`."""

import sys
import types
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import small_runs
from support.toys import quick_jit, spec_of

from pgcli.config.schema import NetworkConfig, is_own_network
from pgcli.envs import user_modules
from pgcli.envs.base import Box, Discrete
from pgcli.errors import UsageError
from pgcli.nn.own_networks import modules_of
from pgcli.nn.policy import make_policy
from pgcli.training.step import make_setup

PICTURE = Box((40, 40, 1), "uint8", 0.0, 255.0)
VECTOR = Box((2,), "float32", -1.0, 1.0)


class Plain(nn.Module):
    """It relies on one batch axis, on bytes, and on implicit promotion."""

    @nn.compact
    def __call__(self, obs: Any) -> Any:
        assert obs.ndim == 4
        assert obs.dtype == jnp.uint8
        return nn.Dense(3)(obs.reshape(len(obs), -1) * np.float32([0.1]))


class Whole(nn.Module):
    """It gets a Dict, the space and the configuration."""

    config: Any
    obs_space: Any

    @nn.compact
    def __call__(self, obs: Any) -> Any:
        place = obs["place"] @ jnp.ones((2, self.config.hidden[0]))
        clock = jax.nn.one_hot(obs["clock"], self.obs_space["clock"].n)
        return jnp.concatenate([place, clock], axis=-1)


class OneNumber(nn.Module):
    def __call__(self, obs: Any) -> Any:
        return obs.sum()


class Whole_Numbers(nn.Module):  # noqa: N801
    def __call__(self, obs: Any) -> Any:
        return obs.astype(int)


class Stateful(nn.Module):
    @nn.compact
    def __call__(self, obs: Any) -> Any:
        return nn.BatchNorm(use_running_average=False)(obs)


class Random(nn.Module):
    @nn.compact
    def __call__(self, obs: Any) -> Any:
        return nn.Dropout(0.5, deterministic=False)(obs)


class Failing(nn.Module):
    def __call__(self, obs: Any) -> Any:
        return obs @ jnp.ones((7, 1))


@pytest.fixture(autouse=True)
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """This file, as the module `my_net`."""
    found = sys.modules[__name__]
    monkeypatch.setattr(user_modules, "NETWORKS", [])
    monkeypatch.setitem(sys.modules, "my_net", found)
    user_modules.use_networks(["my_net"])
    return found


@pytest.mark.parametrize("batch", [(4,), (2, 3)])
def test_torso_of_the_user_gets_one_batch_axis(batch: tuple[int, ...]) -> None:
    config = NetworkConfig("Plain", shared=True)
    policy = make_policy(spec_of(obs=PICTURE), config)
    obs, start = jnp.ones((*batch, 40, 40, 1), jnp.uint8), jnp.zeros(batch, bool)

    @quick_jit
    def value(key: Any) -> Any:
        params = policy.init(key)
        return params["policy"], policy.apply(params, (), obs, start)[2]

    params, found = value(jax.random.key(0))
    assert params["network"]["Dense_0"]["kernel"].shape == (1600, 3)
    assert found.shape == batch
    assert modules_of(config) == ["my_net"]


def test_network_of_the_user_can_ask_for_space_and_configuration() -> None:
    space = {"place": VECTOR, "clock": Discrete(4)}
    policy = make_policy(spec_of(obs=space), NetworkConfig("my_net:Whole", (5,)))
    params = jax.eval_shape(policy.init, jax.random.key(0))
    assert params["policy_head"]["kernel"].shape == (5 + 4, 2)


def test_network_of_the_user_encodes_one_part() -> None:
    space = {"camera": PICTURE, "place": VECTOR}
    config = NetworkConfig(encoders={"camera": "Plain"}, hidden=(6,))
    policy = make_policy(spec_of(obs=space), config)
    params = jax.eval_shape(policy.init, jax.random.key(0))["policy"]
    assert "network" in params["encoder_camera"]
    assert params["Dense_0"]["kernel"].shape == (3 + 2, 6)


@pytest.mark.parametrize(
    ("name", "message", "help"),
    [
        ("OneNumber", r"returns \(\) for observations \[2, …\]", "features [B, n]"),
        ("Whole_Numbers", "returns int32", "return floats"),
        ("Stateful", "a state besides its parameters: batch_stats", "LayerNorm"),
        ("Random", "failed: InvalidRngError", "observations [B, …]"),
        ("Failing", "failed: TypeError: dot_general requires", "observations [B, …]"),
        ("Plane", "there is no network `Plane`", "did you mean `Plain`?"),
        ("Any", "there is no network `Any`", "there are Plain, Whole"),
        ("other:Plain", "a module that is not named", "--network-module other"),
    ],
)
def test_networks_that_do_not_fit_are_refused(
    name: str, message: str, help: str
) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        make_policy(spec_of(obs=VECTOR), NetworkConfig(name))
    assert help in str(raised.value.help)
    if name == "Failing":  # the line of the user
        assert str(raised.value.where).startswith(__file__)


def test_without_a_module_the_flag_and_the_function_are_named() -> None:
    user_modules.NETWORKS.clear()
    with pytest.raises(UsageError, match="not named") as raised:
        make_policy(spec_of(obs=VECTOR), NetworkConfig("MyNet"))
    assert "--network-module MODULE" in str(raised.value.help)
    assert "pgcli.use_network_modules(['MODULE'])" in str(raised.value.help)


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("MyNet", True),
        ("my_net:MyNet", True),
        ("a.b:MyNet", True),
        ("mlp", False),
        ("my_net:net", False),
        ("a-b:Net", False),
        ("", False),
    ],
)
def test_classes_differ_from_names_by_their_first_letter(name: str, own: bool) -> None:
    assert is_own_network(name) == own


def test_programs_of_an_edited_network_are_compiled_again() -> None:
    config = small_runs.config("CartPole-v1", "network.torso=Plain")
    spec = spec_of(obs=PICTURE)
    assert make_setup(config, spec).policy != make_setup(config, spec).policy
    known = small_runs.config("CartPole-v1")
    assert make_setup(known, spec).policy is make_setup(known, spec).policy
