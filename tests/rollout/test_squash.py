"""Environments get squashed actions; rollouts keep them as they were sampled."""

from functools import cache, partial
from typing import Any

import jax
import numpy as np
import pytest
from support.toys import CONTINUOUS, OnHost, linear_policy, quick_jit, walk

from pgcli.nn.policy import Agent
from pgcli.rollout.device_collector import begin, collect
from pgcli.rollout.device_episode_collector import collect_episodes
from pgcli.rollout.host_collector import HostCollector
from pgcli.rollout.host_episode_collector import EpisodeCollector
from pgcli.training.evaluation.device import evaluate_on_device
from pgcli.training.evaluation.host import HostEvaluator

LIMIT, NUM_ENVS = 5, 2
ENV = walk(CONTINUOUS, limit=LIMIT)
# squashed to nothing, no action moves: each step pays 1 where the walk began
POLICY = linear_policy(ENV.spec)._replace(squash=lambda action: 0 * action)


def key() -> Any:
    return jax.random.key(0)


@cache
def agent() -> Agent:
    return Agent(quick_jit(POLICY.init)(key()), None)


def steps_on_device() -> Any:
    def run(agent: Agent, key: Any) -> Any:
        first = begin(ENV, POLICY, key, NUM_ENVS)
        return collect(ENV, POLICY, agent, first, key, LIMIT)[1]

    return quick_jit(run)(agent(), key())


def episodes_on_device() -> Any:
    def run(agent: Agent, key: Any) -> Any:
        return collect_episodes(ENV, POLICY, agent, key, NUM_ENVS, LIMIT)

    return quick_jit(run)(agent(), key())


def on_host(collector: Any, *arguments: int) -> Any:
    there = OnHost(ENV, NUM_ENVS)
    return collector(there, POLICY, *arguments).collect(agent(), key())


COLLECTORS = {
    "device steps": steps_on_device,
    "device episodes": episodes_on_device,
    "host steps": partial(on_host, HostCollector, LIMIT),
    "host episodes": partial(on_host, EpisodeCollector, 1, LIMIT),
}


@pytest.mark.parametrize("name", COLLECTORS)
def test_collectors_squash_what_environments_get(name: str) -> None:
    seen = jax.device_get(COLLECTORS[name]())
    assert (seen.obs[..., 0] == 0).all()
    assert (seen.reward == 1).all()
    assert (seen.action != 0).all()


def test_evaluations_squash_what_environments_get() -> None:
    play = partial(evaluate_on_device, ENV, POLICY, NUM_ENVS, False)
    np.testing.assert_array_equal(quick_jit(play)(agent(), key()).returns, LIMIT)
    played = HostEvaluator(POLICY, False).play(OnHost(ENV, 2), agent(), 2, key())
    np.testing.assert_array_equal(played.returns, LIMIT)
