"""The NumPy forward pass is the compiled one, for all that it can be asked for."""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.toys import quick_jit

from pgcli.config.schema import NetworkConfig
from pgcli.envs.base import Box, Discrete, EnvSpec, MultiBinary, MultiDiscrete
from pgcli.nn.networks import ACTIVATIONS
from pgcli.nn.normalize import init_obs_stats
from pgcli.nn.numpy_forward import IN_PLACE, make_forward, make_sampler
from pgcli.nn.policy import Agent, act, make_policy

FLAT = Box((3,), "float32", -5.0, 5.0)
IMAGE = Box((2, 3), "uint8", 0.0, 255.0)
CHOICES = MultiDiscrete((2, 2), (2, 3, 4, 2), (0, 1, 0, 5))
SPACES: dict[str, Any] = {
    "box": FLAT,
    "image": IMAGE,
    "discrete": Discrete(4, start=2),
    "choices": CHOICES,
    "bits": MultiBinary((2, 2)),
    "dict": {"b": IMAGE, "a": FLAT, "c": Discrete(3), "d": CHOICES},
}
ACTIONS: dict[str, Any] = {
    "discrete": Discrete(5),
    "box": Box((2,), "float32", -1.0, 1.0),
    "choices": CHOICES,
    "bits": MultiBinary((3,)),
}
NUM_ENVS = 6


def observations(space: Any) -> Any:
    drawn = np.random.default_rng(0)
    if isinstance(space, Discrete):
        return drawn.integers(space.start, space.start + space.n, NUM_ENVS, np.int32)
    if isinstance(space, MultiDiscrete):
        low = np.array(space.start)
        size = (NUM_ENVS, len(low))
        values = drawn.integers(low, low + space.nvec, size, np.int32)
        return values.reshape(NUM_ENVS, *space.shape)
    if isinstance(space, MultiBinary):
        return drawn.integers(0, 2, (NUM_ENVS, *space.shape), np.int8)
    if isinstance(space, Box):
        values = drawn.uniform(0, 5, (NUM_ENVS, *space.shape))
        return values.astype(space.dtype)
    return {name: observations(part) for name, part in space.items()}


def agent_of(spec: EnvSpec, config: NetworkConfig, normalized: bool) -> Agent:
    """Weights that are not small anywhere, and statistics whose bound is reached."""
    shapes = jax.eval_shape(make_policy(spec, config).init, jax.random.key(0))
    drawn = np.random.default_rng(1)
    params = jax.tree.map(
        lambda leaf: drawn.normal(0, 0.5, leaf.shape).astype(leaf.dtype), shapes
    )
    stats = None
    if normalized:
        stats = jax.device_get(init_obs_stats(spec.obs, 1.5))
        moved = jax.tree.map(lambda x: x + np.float32(0.7), (stats.mean, stats.var))
        stats = stats.replace(mean=moved[0], var=moved[1])
    return Agent(params, stats)


class Acted(NamedTuple):
    """What the compiled policy makes of observations, and from what."""

    agent: Agent
    noise: np.ndarray
    action: np.ndarray
    head: np.ndarray


CONFIG = NetworkConfig(hidden=(8, 7))


@cache
def acted(obs: str) -> dict[tuple[str, bool], Acted]:
    """By action space and whether observations are normalised: one program for all."""
    specs = {action: EnvSpec("toy", SPACES[obs], ACTIONS[action]) for action in ACTIONS}
    agents = {
        (action, normalized): agent_of(specs[action], CONFIG, normalized)
        for action in ACTIONS
        for normalized in (False, True)
    }

    @quick_jit
    def program(agents: dict[Any, Agent], seen: Any) -> dict[Any, Acted]:
        start = jnp.zeros(NUM_ENVS, bool)
        results = {}
        for (action, normalized), agent in agents.items():
            policy = make_policy(specs[action], CONFIG)
            _, dist = act(policy, agent, (), seen, start)
            noise = dist.noise(jax.random.key(2), (NUM_ENVS,))
            head = dist.mean if action == "box" else dist.logits
            results[action, normalized] = Acted(agent, noise, dist.sample(noise), head)
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
    head = make_forward(agent.params, agent.obs_stats, SPACES[obs], "tanh")(seen)
    taken = make_sampler(agent.params, ACTIONS[action])(head, noise)
    assert taken.dtype == expected.dtype
    np.testing.assert_allclose(taken, expected, rtol=1e-5, atol=1e-5)
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
    make_forward(params, stats, FLAT, "relu")(seen)
    np.testing.assert_array_equal(seen, before)
