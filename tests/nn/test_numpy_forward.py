"""The NumPy forward pass is the compiled one, for all that it can be asked for."""

from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.agents import (
    ACTIONS,
    FLAT,
    NUM_ENVS,
    SPACES,
    agent_of,
    observations,
)
from support.toys import quick_jit

from pgcli.config.schema import NetworkConfig
from pgcli.envs.base import EnvSpec
from pgcli.nn.networks import ACTIVATIONS
from pgcli.nn.numpy_forward import IN_PLACE, make_forward, make_sampler
from pgcli.nn.policy import Agent, act, make_policy


class Acted(NamedTuple):
    """What the compiled policy makes of observations, and from what."""

    agent: Agent
    noise: Any
    action: Any
    head: Any


CONFIG = NetworkConfig(hidden=(8, 7))


def config_of(action: str) -> NetworkConfig:
    if action != "parts":
        return CONFIG
    return replace(CONFIG, distribution="squashed_gaussian", log_std="state")


@cache
def acted(obs: str) -> dict[tuple[str, bool], Acted]:
    """By action space and whether observations are normalised: one program for all."""
    specs = {action: EnvSpec("toy", SPACES[obs], ACTIONS[action]) for action in ACTIONS}
    agents = {
        (action, normalized): agent_of(specs[action], config_of(action), normalized)
        for action in ACTIONS
        for normalized in (False, True)
    }

    @quick_jit
    def program(agents: dict[Any, Agent], seen: Any) -> dict[Any, Acted]:
        start = jnp.zeros(NUM_ENVS, bool)
        results = {}
        for (action, normalized), agent in agents.items():
            policy = make_policy(specs[action], config_of(action))
            _, dist = act(policy, agent, (), seen, start)
            noise = dist.noise(jax.random.key(2), (NUM_ENVS,))
            head = {"box": "mean", "parts": "parts"}.get(action, "logits")
            results[action, normalized] = Acted(
                agent, noise, dist.sample(noise), getattr(dist, head)
            )
        return results

    return jax.device_get(program(agents, observations(SPACES[obs])))


@pytest.mark.parametrize("normalized", [False, True], ids=["raw", "normalized"])
@pytest.mark.parametrize("action", sorted(ACTIONS))
@pytest.mark.parametrize("obs", sorted(SPACES))
def test_numpy_forward_and_sampler_act_as_the_policy(
    action: str, obs: str, normalized: bool
) -> None:
    agent, noise, expected, expected_head = acted(obs)[action, normalized]
    seen = observations(SPACES[obs])
    spec = EnvSpec("toy", SPACES[obs], ACTIONS[action])
    network = config_of(action)
    head = make_forward(agent.params, agent.obs_stats, spec, network)(seen)
    taken = make_sampler(agent.params.get("log_std"), ACTIONS[action], network)(
        head, noise
    )
    pairs = zip(jax.tree.leaves(taken), jax.tree.leaves(expected), strict=True)
    for found, one in pairs:
        assert found.dtype == one.dtype
        np.testing.assert_allclose(found, one, rtol=1e-5, atol=1e-5)
    if action != "parts":  # its distribution has the outputs in several places
        np.testing.assert_allclose(head, expected_head, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_numpy_activations_are_those_of_the_network(activation: str) -> None:
    x = np.linspace(-6, 6, 101, dtype=np.float32)
    expected = np.asarray(ACTIVATIONS[activation](jnp.asarray(x)))
    IN_PLACE[activation](x)
    assert x.dtype == np.float32
    # float32 in another order of operations
    np.testing.assert_allclose(x, expected, rtol=1e-5, atol=2e-6)


def test_numpy_forward_leaves_observations_alone() -> None:
    spec = EnvSpec("toy", FLAT, ACTIONS["box"])
    agent = agent_of(spec, NetworkConfig(hidden=(4,)), normalized=True)
    params, stats = jax.device_get((agent.params, agent.obs_stats))
    seen = observations(FLAT)
    before = seen.copy()
    make_forward(params, stats, spec, NetworkConfig(activation="relu"))(seen)
    np.testing.assert_array_equal(seen, before)
