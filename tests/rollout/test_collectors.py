"""Both collectors: what they record, and that they record the same."""

from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from support.toys import (
    CONTINUOUS,
    DISCRETE,
    FLAT,
    TWO_KEYS,
    OnHost,
    forever,
    gated_policy,
    quick_jit,
    walk,
)

from pgcli.config.schema import NetworkConfig
from pgcli.envs.base import DeviceEnv
from pgcli.nn.normalize import init_obs_stats
from pgcli.nn.policy import Agent, act, make_policy
from pgcli.rollout.device_collector import begin, collect, final_capacity
from pgcli.rollout.host_collector import HostCollector
from pgcli.rollout.policy_outputs import complete
from pgcli.rollout.types import Transitions

NUM_STEPS, NUM_ENVS = 13, 3

CASES = {
    "discrete": (DISCRETE, FLAT, False),
    "box": (CONTINUOUS, FLAT, False),
    "dict-recurrent": (DISCRETE, TWO_KEYS, True),
}
every_case = pytest.mark.parametrize("name", sorted(CASES))


class Collected(NamedTuple):
    env: DeviceEnv
    policy: Any
    agent: Agent
    device: list[Transitions]
    host: list[Transitions]


@cache
def collected(name: str) -> Collected:
    """Three rollouts in a row from each collector, under one agent."""
    action, obs, recurrent = CASES[name]
    env = walk(action, obs)
    policy = (
        gated_policy(env.spec)
        if recurrent
        else make_policy(env.spec, NetworkConfig(hidden=(8,)))
    )
    # statistics that matter: another mean, half the spread, a bound that is reached
    stats = init_obs_stats(obs, 2.0)
    stats = stats.replace(
        mean=jax.tree.map(lambda x: x + 0.3, stats.mean),
        var=jax.tree.map(lambda x: x / 4, stats.var),
    )
    agent = Agent(quick_jit(policy.init)(jax.random.key(0)), stats)
    run = quick_jit(partial(collect, env, policy, num_steps=NUM_STEPS))
    state = quick_jit(lambda key: begin(env, policy, key, NUM_ENVS))(jax.random.key(1))
    device, host = [], []
    collector = HostCollector(OnHost(env, NUM_ENVS), policy, NUM_STEPS)
    for i in range(3):
        key = jax.random.key(10 + i)
        state, transitions = run(agent, state, key)
        device.append(jax.device_get(transitions))
        host.append(jax.tree.map(np.array, collector.collect(agent, key)))
    return Collected(env, policy, agent, device, host)


def both(name: str) -> list[Transitions]:
    return [*collected(name).device, *collected(name).host]


@every_case
def test_host_collector_equals_the_device_collector(name: str) -> None:
    seen = collected(name)
    for device, host in zip(seen.device, seen.host, strict=True):
        np.testing.assert_array_equal(host.terminated, device.terminated)
        np.testing.assert_array_equal(host.truncated, device.truncated)
        np.testing.assert_array_equal(host.start, device.start)
        for field in ("obs", "action", "reward", "weight", "first_carry"):
            jax.tree.map(
                partial(np.testing.assert_allclose, atol=1e-5),
                getattr(host, field),
                getattr(device, field),
            )
        cut = int((device.truncated & ~device.terminated).sum())
        assert cut > 0
        np.testing.assert_array_equal(host.final_index[:cut], device.final_index[:cut])
        jax.tree.map(
            lambda x, y, cut=cut: np.testing.assert_allclose(
                x[:cut], y[:cut], atol=1e-5
            ),
            host.final_obs,
            device.final_obs,
        )


@every_case
def test_collectors_go_on_where_the_last_rollout_was_cut(name: str) -> None:
    seen = collected(name)
    for rollouts in (seen.device, seen.host):
        assert rollouts[0].start[0].all()
        for before, after in pairwise(rollouts):
            np.testing.assert_array_equal(after.start[0], before.start[-1])
            jax.tree.map(
                lambda x, y: np.testing.assert_array_equal(y[0], x[-1]),
                before.obs,
                after.obs,
            )


@every_case
def test_collectors_mark_a_start_after_every_end(name: str) -> None:
    for rollout in both(name):
        done = rollout.terminated | rollout.truncated
        np.testing.assert_array_equal(rollout.start[1:], done)


@every_case
def test_collectors_keep_the_final_observation_of_every_truncation(name: str) -> None:
    for rollout in both(name):
        cut = np.flatnonzero(rollout.truncated & ~rollout.terminated)
        np.testing.assert_array_equal(rollout.final_index[: len(cut)], cut)
        assert (rollout.final_index[len(cut) :] == NUM_STEPS * NUM_ENVS).all()
        obs = rollout.final_obs
        flat = obs["place"] if isinstance(obs, dict) else obs
        # the limit is 5 and the second element is elapsed/4: never a reset's 0
        np.testing.assert_array_equal(flat[: len(cut), 1], 1.25)


@every_case
def test_next_obs_is_the_reset_one_after_every_end(name: str) -> None:
    for rollout in both(name):
        done = rollout.terminated | rollout.truncated
        obs = rollout.obs["place"] if isinstance(rollout.obs, dict) else rollout.obs
        assert (obs[1:][done] == 0).all()
        assert (obs[1:][~done][:, 1] > 0).all()


@every_case
def test_ratio_is_one_before_the_first_gradient_step(name: str) -> None:
    # π_old of the update, against the policy that acted, one step at a time
    seen = collected(name)
    one_step = quick_jit(partial(act, seen.policy))
    log_prob = quick_jit(lambda dist, action: dist.log_prob(action))
    whole = quick_jit(partial(complete, seen.policy))
    for rollout in (seen.device[1], seen.host[1]):
        logp = whole(seen.agent, rollout, rollout.reward).logp
        carry = rollout.first_carry
        for t in range(NUM_STEPS):
            obs = jax.tree.map(lambda x, t=t: x[t], rollout.obs)
            carry, dist = one_step(seen.agent, carry, obs, rollout.start[t])
            acted = log_prob(dist, rollout.action[t])
            np.testing.assert_allclose(np.exp(logp[t] - acted), 1, atol=1e-5)


def test_actions_are_stored_unclipped() -> None:
    seen = collected("box")
    for rollouts in (seen.device, seen.host):
        actions = np.concatenate([rollout.action for rollout in rollouts])
        assert (np.abs(actions) > 1).any()


def test_actions_reach_the_environment_clipped() -> None:
    for rollout in both("box"):
        place = rollout.obs[..., 0]
        moved = (place[1:] - place[:-1])[~rollout.start[1:]]
        clipped = rollout.action[..., 0][~rollout.start[1:]].clip(-1, 1)
        np.testing.assert_allclose(moved, 0.4 * clipped, atol=1e-5)


def test_rollouts_with_and_without_an_end_at_their_last_step_both_occur() -> None:
    ends = [
        bool((r.terminated | r.truncated)[-1, n])
        for r in both("discrete")
        for n in range(NUM_ENVS)
    ]
    assert len(set(ends)) == 2


@pytest.mark.parametrize("limit", [1, 2, 5, 13, 14, None])
def test_final_capacity_holds_every_truncation(limit: int | None) -> None:
    env = walk(limit=limit)
    # the most a rollout can hold, by counting from every phase of the limit
    most = (
        0
        if limit is None
        else max(
            sum((first + t) % limit == 0 for t in range(1, NUM_STEPS + 1))
            for first in range(limit)
        )
    )
    assert final_capacity(env, NUM_STEPS, NUM_ENVS) >= NUM_ENVS * most


@pytest.mark.parametrize("declared", [None, 100], ids=["by the limit", "otherwise"])
def test_one_step_episodes_keep_a_final_observation_each(declared: int | None) -> None:
    # a limit of 100 leaves room for one per environment, and there are four
    env = forever(1, declared)
    policy = make_policy(env.spec, NetworkConfig(hidden=(2,)))

    @quick_jit
    def run(key: jax.Array) -> Transitions:
        agent = Agent(policy.init(key), None)
        return collect(env, policy, agent, begin(env, policy, key, 2), key, 4)[1]

    found = run(jax.random.key(0))
    assert found.truncated.all()
    assert found.start.all()
    np.testing.assert_array_equal(found.final_index, np.arange(8))
    assert (found.final_obs == 1).all()


def test_host_buffers_are_not_written_while_the_last_rollout_is_learned_from() -> None:
    env = walk()
    policy = make_policy(env.spec, NetworkConfig(hidden=(2,)))
    agent = Agent(quick_jit(policy.init)(jax.random.key(0)), None)
    collector = HostCollector(OnHost(env, 2), policy, 4)
    first = collector.collect(agent, jax.random.key(0))
    kept = jax.tree.map(np.array, first)
    collector.collect(agent, jax.random.key(1))
    jax.tree.map(np.testing.assert_array_equal, first, kept)


def test_host_final_buffer_grows_to_hold_every_truncation() -> None:
    env = forever(1)
    policy = make_policy(env.spec, NetworkConfig(hidden=(2,)))
    agent = Agent(quick_jit(policy.init)(jax.random.key(0)), None)
    found = HostCollector(OnHost(env, 2), policy, 11).collect(agent, jax.random.key(0))
    assert (np.sort(found.final_index)[:22] == np.arange(22)).all()
    assert len(found.final_index) == 22


Corrupt = Callable[[Any], None]


def _reward(slot: Any) -> None:
    slot.reward[1] = np.nan


def _obs(slot: Any) -> None:
    slot.obs[1, 0] = np.inf


@pytest.mark.parametrize(
    ("corrupt", "named"), [(_reward, "reward"), (_obs, "observation")]
)
def test_host_collector_names_what_is_not_finite(corrupt: Corrupt, named: str) -> None:
    from pgcli.errors import EnvironmentFailed

    class Broken(OnHost):
        def step(self, action: np.ndarray, slot: Any, active: Any = None) -> list:
            finals = super().step(action, slot, active)
            corrupt(slot)
            return finals

    env = walk()
    policy = make_policy(env.spec, NetworkConfig(hidden=(2,)))
    agent = Agent(quick_jit(policy.init)(jax.random.key(0)), None)
    collector = HostCollector(Broken(env, 2), policy, 4)
    with pytest.raises(EnvironmentFailed, match=f"{named} of environment 1"):
        collector.collect(agent, jax.random.key(0))
