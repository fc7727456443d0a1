"""Transitions of small environments, collected as in training, on either side."""

from functools import partial
from typing import Any

import jax
import numpy as np
from support.toys import OnHost, quick_jit

from pgcli.envs.base import DeviceEnv
from pgcli.nn.policy import Agent, Policy
from pgcli.rollout.device_collector import begin, collect
from pgcli.rollout.device_episode_collector import collect_episodes
from pgcli.rollout.host_collector import HostCollector
from pgcli.rollout.host_episode_collector import EpisodeCollector
from pgcli.rollout.types import Transitions

NUM_ENVS, NUM_STEPS, LIMIT, CAPACITY = 4, 8, 5, 8
"""LIMIT is the time limit of the environments, CAPACITY that of final observations."""


def collected(
    env: DeviceEnv, policy: Policy, agent: Agent, collects: str, host: bool
) -> Transitions:
    """One collection of `steps` or `episodes`, on the device or on the host."""
    key = jax.random.key(1)
    if host:
        there: Any = OnHost(env, NUM_ENVS)
        collector = (
            HostCollector(there, policy, NUM_STEPS)
            if collects == "steps"
            else EpisodeCollector(there, policy, 1, LIMIT)
        )
        found = collector.collect(agent, key)
    elif collects == "steps":
        start = quick_jit(lambda key: begin(env, policy, key, NUM_ENVS))(key)
        run = quick_jit(partial(collect, env, policy, num_steps=NUM_STEPS))
        found = run(agent, start, key)[1]
    else:
        episodes = partial(collect_episodes, env, policy)
        found = quick_jit(episodes, static_argnums=(2, 3))(agent, key, NUM_ENVS, LIMIT)
    return _with_capacity(jax.device_get(found))


def _with_capacity(found: Transitions) -> Transitions:
    """With as many slots for final observations everywhere: one program for all."""
    slots = len(found.final_index)
    size = found.reward.size
    used = min(slots, CAPACITY)
    index = np.full(CAPACITY, size, np.int32)
    index[:used] = found.final_index[:used]

    def pad(x: np.ndarray) -> np.ndarray:
        out = np.zeros((CAPACITY, *x.shape[1:]), x.dtype)
        out[:used] = x[:used]
        return out

    return found.replace(
        final_index=index, final_obs=jax.tree.map(pad, found.final_obs)
    )
