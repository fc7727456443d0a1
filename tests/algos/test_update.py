"""The update that algorithms share: what a memory sees, and when it stays."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from support.toys import quick_jit, shape_of
from support.update_cases import case, hyperparameters

from pgcli.algos.actor_critic import actor_critic
from pgcli.algos.base import Algorithm, Metrics
from pgcli.algos.update import Memory
from pgcli.arrays.shapes import Array
from pgcli.nn.policy import Agent, Policy, zero_obs
from pgcli.rollout.types import Rollout, RolloutShape


def with_replay(policy: Policy) -> Algorithm:
    """A2C that remembers the observations of two rollouts: [2, T, N, *obs]."""

    def init_memory(config: Any, shape: RolloutShape) -> Array:
        return zero_obs(shape.obs, (2, shape.num_steps, shape.num_envs))

    def update_memory(
        config: Any, memory: Array, rollout: Rollout, metrics: Metrics
    ) -> tuple[Array, Metrics]:
        stored = jnp.stack([memory[1], rollout.obs])
        return stored, {"stored": jnp.mean(stored), "kl_seen": metrics["kl"]}

    return actor_critic(
        policy,
        lambda config, memory, batch, schedules: batch.logp * batch.advantage,
        Memory(init_memory, update_memory),
    )


def two_updates(*rollouts: Rollout) -> list[Any]:
    """(learner, metrics) after each rollout."""
    made = case("box")
    algorithm, hyper = with_replay(made.policy), hyperparameters("a2c")
    learner = algorithm.init(hyper, Agent(made.params, None), shape_of(made.rollout))
    update = quick_jit(algorithm.update)
    results = []
    for rollout in rollouts:
        learner, metrics = update(
            hyper, learner, rollout, jnp.float32(0), jax.random.key(0)
        )
        results.append((learner, metrics))
    return results


def test_memory_sees_the_rollout_and_the_metrics_of_its_update() -> None:
    first = case("box").rollout
    second = first.replace(obs=first.obs + 1)
    (_, one), (learner, two) = two_updates(first, second)
    np.testing.assert_array_equal(learner.memory, [first.obs, second.obs])
    # a half of the first memory is zeros
    np.testing.assert_allclose(one["stored"], first.obs.mean() / 2, atol=1e-6)
    np.testing.assert_allclose(two["stored"], first.obs.mean() + 0.5, atol=1e-6)
    assert one["kl_seen"] == one["kl"]


def test_memory_stays_where_nothing_is_real() -> None:
    rollout = case("box").rollout
    (before, _), (after, _) = two_updates(
        rollout, rollout.replace(weight=0 * rollout.weight)
    )
    np.testing.assert_array_equal(before.memory, after.memory)
