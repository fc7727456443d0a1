"""Samples in blocks: what is computed in parts is what is computed at once."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.toys import (
    DISCRETE,
    linear_policy,
    quick_jit,
    random_rollout,
    random_transitions,
    shape_of,
    spec_of,
)

from pgcli.algos import ALGORITHMS
from pgcli.algos.base import Hyperparameters, as_leaves
from pgcli.arrays import sample_blocks
from pgcli.config.algorithms import PPO2Config
from pgcli.config.schema import OptimizerConfig
from pgcli.nn.policy import Agent
from pgcli.rollout.policy_outputs import revalue


@pytest.mark.parametrize(
    ("size", "count"),
    [(1, 1), (1024, 1), (2048, 2), (2500, 4), (3000, 3), (262_144, 256)],
)
def test_num_blocks_are_equal_and_at_most_a_block(size: int, count: int) -> None:
    assert sample_blocks.num_blocks(size) == (count, 0)


def test_num_blocks_leaves_a_remainder_of_large_prime_sizes_only() -> None:
    assert sample_blocks.num_blocks(2053) == (1, 0)
    # 17,389 = 17 blocks of ⌈17,389/17⌉ = 1,023 but for the last, of 1,021
    assert sample_blocks.num_blocks(17_389) == (16, 17_389 - 16 * 1023)


def test_num_blocks_takes_all_at_once_on_an_accelerator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert sample_blocks.num_blocks(4096) == (1, 0)
    assert sample_blocks.num_blocks(17_389) == (1, 0)
    assert sample_blocks.num_together(64) > 10**6


@pytest.mark.parametrize(
    ("samples", "runs"), [(2048, 1), (1024, 1), (500, 2), (64, 16)]
)
def test_num_together_fill_a_block(samples: int, runs: int) -> None:
    assert sample_blocks.num_together(samples) == runs


def test_map_blocks_gives_each_sample_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_blocks, "BLOCK", 4)
    x = jnp.arange(24.0).reshape(2, 6, 2)
    shapes = []

    def function(samples: Any) -> Any:
        shapes.append(samples["x"].shape)
        return {"sum": samples["x"].sum(axis=1), "twice": 2 * samples["x"]}

    found = sample_blocks.map_blocks(function, {"x": x})
    assert set(shapes) == {(4, 2)}
    np.testing.assert_array_equal(found["sum"], x.sum(axis=2))
    np.testing.assert_array_equal(found["twice"], 2 * x)


def test_sum_blocks_adds_up_all_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_blocks, "BLOCK", 4)
    x = jnp.arange(12)
    found = sample_blocks.sum_blocks(lambda x: jnp.stack([x.sum(), x.size]), x)
    np.testing.assert_array_equal(found, [66, 12])


def test_blocks_with_a_remainder_are_all_samples(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sample_blocks, "BLOCK", 4)
    x = jnp.arange(37.0)  # 9 blocks of 4 and one sample
    assert sample_blocks.num_blocks(37) == (9, 1)
    total = sample_blocks.sum_blocks(lambda x: jnp.stack([x.sum(), x.size]), x)
    np.testing.assert_array_equal(total, [36 * 37 / 2, 37])
    twice = sample_blocks.map_blocks(lambda x: 2 * x, x[:, None])
    np.testing.assert_array_equal(twice, 2 * x[:, None])


@pytest.mark.parametrize("standardize", [False, True])
def test_an_update_in_blocks_is_the_update_at_once(
    standardize: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = linear_policy(spec_of(DISCRETE))
    agent = Agent(policy.init(jax.random.key(0)), None)
    transitions = random_transitions(DISCRETE, 0, num_steps=16, num_envs=8)
    rollout = random_rollout(policy, agent.params, transitions)
    config = PPO2Config(
        num_epochs=2, num_minibatches=2, standardize_advantage=standardize
    )
    hyper = Hyperparameters(as_leaves(config), as_leaves(OptimizerConfig()), 2)
    algorithm = ALGORITHMS["ppo2"](policy)

    counts: list[tuple[int, int]] = []
    num_blocks = sample_blocks.num_blocks
    monkeypatch.setattr(
        sample_blocks,
        "num_blocks",
        lambda size: counts.append(num_blocks(size)) or counts[-1],
    )

    def run() -> Any:
        def update(hyper: Hyperparameters, key: jax.Array) -> Any:  # traced anew
            learner = algorithm.init(hyper, agent, shape_of(rollout))
            return algorithm.update(hyper, learner, rollout, jnp.float32(0), key)

        counts.clear()
        learner, metrics = quick_jit(update)(hyper, jax.random.key(1))
        again = revalue(policy, learner.agent.params, rollout)
        return learner.agent.params, metrics, again.value, again.next_value

    at_once = run()
    assert set(counts) == {(1, 0)}
    monkeypatch.setattr(sample_blocks, "BLOCK", 16)
    in_blocks = run()
    assert set(counts) == {
        (4, 0),
        (8, 0),
    }  # of a minibatch of 64, and of the 128 samples
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6),
        in_blocks,
        at_once,
    )
