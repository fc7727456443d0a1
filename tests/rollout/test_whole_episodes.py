"""Whole episodes: none is cut, dropped or repeated, on the device and on the host."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.tabular_mdp import (
    DETOUR,
    LOGITS,
    POLICY,
    all_batches,
    completed,
    device_env,
    estimates,
    objective,
    objective_gradient,
    params_of,
    rollout_of,
    total_variance,
    trajectories,
)
from support.toys import DISCRETE, FLAT, OnHost, run_config, walk
from support.update_cases import ACTIONS, case, policy_of

from pgcli.config.schema import EnvConfig
from pgcli.envs.base import EnvSpec
from pgcli.envs.make import make_device_env, make_host_env
from pgcli.errors import UsageError
from pgcli.nn.policy import Agent
from pgcli.rollout.device_episode_collector import collect_episodes
from pgcli.rollout.host_episode_collector import EpisodeCollector
from pgcli.rollout.types import Rollout, Transitions
from pgcli.training.loops.device_loop import RUN_ONCE
from pgcli.training.loops.host_loop import HostLoop
from pgcli.training.seeds import env_seeds, role_key
from pgcli.training.step import iteration_keys, learn, make_setup

MANY = 4096


@cache
def collector(count: int) -> Any:
    """key -> episodes of the detour under `LOGITS`."""

    def run(key: jax.Array) -> Transitions:
        env, agent = device_env(DETOUR), Agent(params_of(LOGITS), None)
        return collect_episodes(env, POLICY, agent, key, count, DETOUR.limit)

    return jax.jit(run, compiler_options=RUN_ONCE)


@cache
def collected() -> Transitions:
    made: Transitions = collector(MANY)(jax.random.key(3))
    return made


def assert_whole(made: Transitions, limit: int) -> np.ndarray:
    """Every column is one episode from start to end; their lengths."""
    weight = np.asarray(made.weight)
    done = np.asarray(made.terminated | made.truncated)
    length = weight.sum(axis=0).astype(int)
    assert length.min() >= 1
    assert length.max() <= limit
    rows = np.arange(len(weight))[:, None]
    np.testing.assert_array_equal(weight, rows < length)
    # it ends at its last real row, and there only: no tail is dropped
    np.testing.assert_array_equal(done, rows == length - 1)
    np.testing.assert_array_equal(np.asarray(made.truncated)[: limit - 1], False)
    assert not np.asarray(made.reward)[weight == 0].any()
    assert np.asarray(made.start)[0].all()
    assert not np.asarray(made.start)[1:].any()
    return length


def test_device_columns_are_whole_episodes() -> None:
    length = assert_whole(collected(), DETOUR.limit)
    assert set(length) == {1, 2, 3, 4}


def test_device_episodes_go_each_way_as_often_as_they_should() -> None:
    # each column against the enumeration: 5 standard errors, p < 1e-5 over all ways
    made = jax.tree.map(np.asarray, collected())
    ways = trajectories(DETOUR)
    probability = np.array([way.probability(LOGITS) for way in ways])
    names = [(way.states, way.actions) for way in ways]
    count = np.zeros(len(ways))
    for n in range(MANY):
        size = int(made.weight[:, n].sum())
        states = tuple(made.obs[:size, n].argmax(-1).tolist())
        count[names.index((states, tuple(made.action[:size, n].tolist())))] += 1
    error = np.sqrt(probability * (1 - probability) / MANY)
    assert (np.abs(count / MANY - probability) < 5 * error).all()


def gradient_of(rollout: Rollout, kept: np.ndarray) -> np.ndarray:
    """What `reinforce` makes of the columns that are kept, as a mean over these."""
    some = rollout.replace(weight=rollout.weight * jnp.float32(kept)[None])
    batch = np.arange(MANY)[None]
    found = estimates("reinforce", params_of(LOGITS), some, batch).gradient[0]
    return found * (MANY / kept.sum())


def test_gradient_of_collected_episodes_is_that_of_the_objective() -> None:
    ways, params = trajectories(DETOUR), params_of(LOGITS)
    probability = np.array([way.probability(LOGITS) for way in ways])
    one_by_one = all_batches(len(ways), 1)
    each = estimates("reinforce", params, rollout_of(params, ways), one_by_one).gradient
    error = np.sqrt(total_variance(probability, each) / MANY)
    exact, made = objective_gradient(DETOUR, LOGITS), collected()
    rollout = completed()(params, made)
    found = gradient_of(rollout, np.ones(MANY, bool))
    assert np.linalg.norm(found - exact) < 4 * error
    # without the episodes that the limit cut, the good ones, it is another gradient
    short = ~np.asarray(made.truncated).any(axis=0)
    assert np.linalg.norm(gradient_of(rollout, short) - exact) > 8 * error
    returns = np.asarray(made.reward).sum(axis=0)
    assert abs(returns.mean() - objective(DETOUR, LOGITS)) < 0.1
    assert returns.mean() - returns[short].mean() > 0.05


def test_leaving_early_changes_nothing() -> None:
    # An episode depends on its own keys only: beside many others the loop runs to the
    # limit, by itself it leaves once this one has ended.
    lengths = set()
    for seed in range(8):
        key = jax.random.key(seed)
        many, one = (jax.tree.map(np.asarray, collector(n)(key)) for n in (64, 1))
        length = int(one.weight.sum())
        lengths.add(length)
        assert many.weight.sum(axis=0).max() == DETOUR.limit
        np.testing.assert_array_equal(one.weight, many.weight[:, :1])
        for name in ("obs", "action", "reward", "terminated", "truncated"):
            mine, theirs = getattr(one, name)[:, 0], getattr(many, name)[:, 0]
            np.testing.assert_array_equal(mine[:length], theirs[:length], err_msg=name)
        for name in ("reward", "terminated", "truncated"):
            assert not getattr(many, name)[length:, 0].any(), name
    assert lengths == {1, 2, 3, 4}


def test_time_limit_ends_a_trajectory_without_a_bootstrap() -> None:
    ways = trajectories(DETOUR)
    assert any(not way.terminated for way in ways)
    batch = np.arange(len(ways))[None]
    found = []
    for value in (0.0, 1e3):
        params = params_of(LOGITS, np.full(3, value))
        rollout = rollout_of(params, ways)
        made = [
            estimates("reinforce", params, rollout, batch),
            estimates("reward-to-go", params, rollout, batch, baseline="none"),
        ]
        found.append(np.stack([x.gradient for x in made]))
    np.testing.assert_array_equal(found[0], found[1])


NUM_ENVS, ROUNDS = 3, 2


@pytest.mark.parametrize("action", ACTIONS)
def test_host_episodes_are_the_device_episodes(action: str) -> None:
    limit = 12
    env = walk(ACTIONS[action], limit=limit)
    policy = policy_of(action)
    agent, key = Agent(case(action, 1).params, None), jax.random.key(2)
    run = jax.jit(
        partial(
            collect_episodes,
            env,
            policy,
            num_trajectories=NUM_ENVS * ROUNDS,
            limit=limit,
        ),
        compiler_options=RUN_ONCE,
    )
    device = jax.tree.map(np.asarray, run(agent, key=key))
    # the host has no use for the other two keys
    _, noise_key, _ = jax.random.split(key, 3)
    host_env = OnHost(env, NUM_ENVS)
    host = EpisodeCollector(host_env, policy, ROUNDS, limit).collect(agent, noise_key)
    length = assert_whole(host, limit)
    assert len(set(length)) > 1
    rows = len(host.weight)
    np.testing.assert_array_equal(device.weight[:rows], host.weight)
    assert not device.weight[rows:].any()
    real = host.weight > 0
    for name in ("obs", "action", "reward", "terminated", "truncated"):
        mine, theirs = (np.asarray(getattr(x, name))[:rows] for x in (host, device))
        np.testing.assert_allclose(mine[real], theirs[real], atol=1e-6, err_msg=name)


class Lengths:
    """Host environments whose episodes last as long as they are told."""

    num_envs = 2

    def __init__(self, lengths: list[list[int]], limit: int) -> None:
        self.spec = EnvSpec("toy:lengths", FLAT, DISCRETE, limit)
        self._lengths = iter(lengths)
        self.played = 0

    def reset(self, obs: Any) -> None:
        self._left = np.array(next(self._lengths))
        self._elapsed = 0 * self._left
        obs[:] = 0.5

    def step(self, action: Any, slot: Any, active: Any = None) -> list[Any]:
        assert active is not None
        self.played += int(active.sum())
        self._left -= 1
        self._elapsed += 1
        slot.obs[:] = 0.5
        slot.reward[:] = 1
        slot.truncated[:] = self._elapsed >= self.spec.max_episode_steps
        slot.terminated[:] = (self._left <= 0) & ~slot.truncated
        return []

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("lengths", "limit", "padded"),
    [
        ([[1, 1]], 100, 1),
        ([[3, 2]], 100, 4),
        ([[2, 4], [1, 1]], 100, 4),
        ([[2, 4], [1, 5]], 100, 8),
        ([[5, 5]], 6, 6),
        ([[9, 2]], 6, 6),
    ],
)
def test_host_pads_to_a_power_of_two_or_the_limit(
    lengths: list[list[int]], limit: int, padded: int
) -> None:
    policy = policy_of("discrete")
    agent = Agent(case("discrete").params, None)
    env = Lengths(lengths, limit)
    made = EpisodeCollector(env, policy, len(lengths), limit).collect(
        agent, jax.random.key(0)
    )
    assert made.weight.shape == (padded, 2 * len(lengths))
    expected = np.minimum(np.concatenate(lengths), limit)
    np.testing.assert_array_equal(assert_whole(made, limit), expected)
    np.testing.assert_array_equal(made.reward.sum(axis=0), expected)


def test_host_budget_counts_real_transitions_only() -> None:
    config = run_config("reinforce", num_envs=2, num_steps=1, shards=1)
    env = Lengths([[3, 2], [1, 4], [3, 1]], 6)
    loop = HostLoop(config, env, policy_of("discrete"))
    loop._learn = jax.jit(partial(learn, loop.setup), compiler_options=RUN_ONCE)
    rows = [loop.advance(loop.steps + 1, 0.0)[0] for _ in range(3)]
    # 3 + 2, then 1 + 4, then 3 + 1, where T is 4 throughout
    assert [row["steps"] for row in rows] == [5, 10, 14]
    assert [row["episodes"] for row in rows] == [2, 4, 6]
    assert env.played == loop.steps == 14
    # returns are lengths: 5/2, 10/4 and 14/6
    np.testing.assert_allclose([row["return_mean"] for row in rows], [2.5, 2.5, 14 / 6])


def test_setup_has_a_column_per_episode_and_needs_a_limit() -> None:
    config = run_config("reward-to-go", num_envs=3, shards=1)
    several = config.rollout.__class__(episodes_per_env=4)
    config = config.__class__(
        algo=config.algo, env=config.env, rollout=several, parallel=config.parallel
    )
    setup = make_setup(config, walk(limit=7).spec)
    assert (setup.columns, setup.num_steps) == (12, 7)
    with pytest.raises(UsageError, match="no time limit") as caught:
        make_setup(config, walk(limit=None).spec)
    assert "max_episode_steps" in str(caught.value.help)


def distinct(obs: np.ndarray) -> int:
    return len(np.unique(obs.reshape(-1, obs.shape[-1]), axis=0))


@pytest.mark.parametrize("vectorizer", ["in_process", "native"])
def test_host_plays_whole_episodes_and_none_twice(vectorizer: Any) -> None:
    limit = 30
    config = EnvConfig("CartPole-v1", 3, max_episode_steps=limit)
    env = make_host_env(config, env_seeds(0, "train", 3), vectorizer=vectorizer)
    small = policy_of("discrete")
    policy = small._replace(
        apply=lambda params, carry, obs, start, mask=None: small.apply(
            params, carry, obs[..., :2], start
        )
    )
    agent = Agent(case("discrete").params, None)
    collector = EpisodeCollector(env, policy, 2, limit)
    made = [collector.collect(agent, jax.random.key(i)) for i in range(2)]
    lengths = np.concatenate([assert_whole(each, limit) for each in made])
    assert len(set(lengths)) > 2
    assert distinct(np.stack([each.obs[0] for each in made])) == 2 * 2 * 3
    env.close()


def test_device_plays_no_episode_twice() -> None:
    env = make_device_env(EnvConfig("func:CartPole-v1", 3, max_episode_steps=4))
    run_key, firsts = role_key(0, "train"), []
    begin = jax.jit(
        lambda key: jax.vmap(env.reset)(
            jax.vmap(lambda n: jax.random.fold_in(key, n))(jnp.arange(6))
        )[1]
    )
    for iteration in range(3):
        key, _ = iteration_keys(run_key, jnp.uint32(iteration))
        begin_key, _, _ = jax.random.split(key, 3)
        firsts.append(np.asarray(begin(begin_key)))
    assert distinct(np.stack(firsts)) == 3 * 6
