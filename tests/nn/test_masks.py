"""Action masks: what is invalid is never taken, and adds nothing to any sum."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special
from support.agents import FLAT, NUM_ENVS, agent_of, masked_spec, observations
from support.toys import quick_jit

from pgcli.config.schema import NetworkConfig
from pgcli.envs.actions import random_action
from pgcli.envs.base import EnvSpec, component_sizes
from pgcli.nn.distributions import Bernoulli, Categorical, MultiCategorical
from pgcli.nn.numpy_forward import make_forward, make_sampler
from pgcli.nn.policy import act, make_policy

NVEC = (2, 3)
# one row per kind of logits: ordinary, huge, hugely negative where valid, of both signs
ROWS = [
    np.float32([0.3, -1.2, 2.0, 0.0, 1.0]),
    np.float32([3e38, 1.0, -3e38, 3e38, 3e38]),
    np.float32([-1e12, 1e12, -2e12, 5e9, -3e9]),
    np.float32([-3e38, 0.0, -3e38, 0.0, -3e38]),
]
LOGITS = np.stack(ROWS)
MASK = np.int8([[1, 0, 1, 0, 1]] * 4)
KINDS: dict[str, Any] = {
    "choice": (lambda x: Categorical(x), MASK),
    "choices": (lambda x: MultiCategorical(x, NVEC), MASK),
    # bits that are free, 0, 1, free, 0
    "bits": (lambda x: Bernoulli(x), np.int8([[1, 1, 1, 0, 0, 1, 1, 1, 1, 0]] * 4)),
}
kinds = pytest.mark.parametrize("kind", sorted(KINDS))


def is_valid(kind: str, action: np.ndarray) -> np.ndarray:
    """Whether actions [..., A] are those that the masks of `KINDS` allow."""
    if kind == "choice":
        return np.isin(action, [0, 2, 4])
    if kind == "choices":
        return (action[..., 0] == 0) & np.isin(action[..., 1], [0, 2])
    return (action[..., 1] == 0) & (action[..., 2] == 1) & (action[..., 4] == 0)


@cache
def results(kind: str) -> Any:
    make, mask = KINDS[kind][0], jnp.asarray(KINDS[kind][1])

    def total(logits: Any) -> Any:
        dist, old = (make(x).masked(mask) for x in (logits, jnp.asarray(LOGITS[::-1])))
        logp = dist.log_prob(dist.mode())
        return jnp.sum(dist.entropy() + dist.kl(old) + old.kl(dist) + logp)

    @quick_jit
    def program(logits: Any, key: Any) -> Any:
        dist = make(logits).masked(mask)
        noise = dist.noise(key, (5_000, 4))
        same = dist.entropy(), dist.kl(dist)
        return jax.vmap(dist.sample)(noise), dist.mode(), same, jax.grad(total)(logits)

    return jax.device_get(program(LOGITS, jax.random.key(0)))


@kinds
def test_invalid_actions_are_never_sampled_nor_the_mode(kind: str) -> None:
    sampled, mode, *_ = results(kind)
    assert is_valid(kind, sampled).all()
    assert is_valid(kind, mode).all()


@kinds
def test_masked_entropies_and_gradients_are_finite_at_extremes(kind: str) -> None:
    *_, (entropy, kl), gradient = results(kind)
    assert np.isfinite(entropy).all()
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(kl, 0)
    # the logit of what is invalid moves nothing
    fixed = {"bits": [1, 2, 4], "choice": [1, 3], "choices": [1, 3]}[kind]
    np.testing.assert_array_equal(gradient[:, fixed], 0)
    assert np.abs(gradient[0]).max() > 0.01


def test_masked_entropies_are_those_of_the_valid_actions() -> None:
    def entropy(logits: list[float]) -> float:
        return float(special.entr(special.softmax(logits)).sum())

    a, b, c, d, e = ROWS[0]
    expected = {
        "choice": entropy([a, c, e]),
        "choices": entropy([a]) + entropy([c, e]),
        # a bit with the logit l is a choice between l and 0
        "bits": entropy([a, 0]) + entropy([d, 0]),
    }
    found = {kind: results(kind)[2][0][0] for kind in KINDS}
    assert found == pytest.approx(expected, abs=1e-6)
    assert b not in (a, c, d, e)


def masks_of(spec: EnvSpec, count: int) -> np.ndarray:
    """Random masks with a valid value for each component: [count, L]."""
    random = np.random.default_rng(3)
    sizes = component_sizes(spec.action)
    parts = [random.random((count, size)) for size in sizes]
    valid = [(x > 0.6) | (x == x.max(-1, keepdims=True)) for x in parts]
    return np.concatenate(valid, axis=-1).astype(np.int8)


def test_numpy_acts_as_the_compiled_policy_with_masks() -> None:
    config = NetworkConfig(hidden=(4,))
    specs = {x: masked_spec(x) for x in ("bits", "choices", "discrete", "parts")}
    agents = {x: agent_of(spec, config, True) for x, spec in specs.items()}
    seen = {
        x: {"observation": observations(FLAT), "mask": masks_of(spec, NUM_ENVS)}
        for x, spec in specs.items()
    }

    @quick_jit
    def program(agents: Any, seen: Any) -> Any:
        start, found = jnp.zeros(NUM_ENVS, bool), {}
        for x, spec in specs.items():
            _, dist = act(make_policy(spec, config), agents[x], (), seen[x], start)
            noise = dist.noise(jax.random.key(2), (NUM_ENVS,))
            found[x] = noise, dist.sample(noise)
        return found

    compiled = jax.device_get(program(agents, seen))
    for x, spec in specs.items():
        noise, action = compiled[x]
        agent = agents[x]
        head = make_forward(agent.params, agent.obs_stats, spec, config)(seen[x])
        log_std = agent.params.get("log_std")
        taken = make_sampler(log_std, spec.action, config)(head, noise)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), taken, action)


@pytest.mark.parametrize("action", ["bits", "choices", "discrete"])
def test_random_actions_are_valid_and_all_valid_ones_occur(action: str) -> None:
    spec = masked_spec(action)
    mask = np.repeat(masks_of(spec, 3), 500, axis=0)
    drawn = random_action(spec.action, (1500,), np.random.default_rng(0), mask)
    sizes = component_sizes(spec.action)
    ends = np.cumsum(sizes)
    chosen = drawn.reshape(1500, len(sizes)) + (ends - sizes)
    assert np.take_along_axis(mask, chosen, axis=1).all()
    occurring = {(i // 500, k) for i in range(1500) for k in chosen[i]}
    assert occurring == {(i // 500, k) for i, k in np.argwhere(mask)}
