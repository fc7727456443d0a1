"""Three autoreset modes and our own: the same advantages.

The reference is the record of the scripted environment; the advantages of its
transitions are computed from that record by the definition, Â_t = Σ (γλ)^k δ_{t+k}.
"""

from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from typing import NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from support.scripted_envs import (
    BOTH,
    TERMINATED,
    TRUNCATED,
    LikeALE,
    LikeEnvPool,
    Scripted,
    Seen,
)

from pgcli.algos.advantage import rollout_advantage
from pgcli.config.schema import EnvConfig, NetworkConfig
from pgcli.envs.base import HostEnv
from pgcli.envs.host.in_process import InProcess
from pgcli.envs.host.native_vector import NativeVector
from pgcli.envs.make import make_host_env
from pgcli.nn.normalize import ObsStats
from pgcli.nn.policy import Agent, Policy, make_policy
from pgcli.rollout.host_collector import HostCollector
from pgcli.rollout.policy_outputs import complete
from pgcli.rollout.types import Transitions

NUM_STEPS, ROLLOUTS = 7, 5
LONG = 60
GAMMA, GAE_LAMBDA = 0.9, 0.8
# float32 sums of up to 7 terms of size 2: rounding stays below 1e-6
TOLERANCE = 1e-6

# Without phantom rows environment 0 ends at rows 0, 1, 2, 6 and again at 6; with them
# environment 1 ends at row 1 and, behind the phantom at 2, at row 6.
SCRIPTS = (
    (
        (1, TERMINATED),
        (1, TRUNCATED),
        (1, BOTH),
        (4, TERMINATED),
        (7, TRUNCATED),
        (3, BOTH),
        (4, TRUNCATED),
    ),
    ((2, TRUNCATED), (4, TRUNCATED), (5, TERMINATED), (1, BOTH), (3, TRUNCATED)),
    ((40, TERMINATED),),
)
SEEDS = [11, 12, 13]


class Case(NamedTuple):
    env: HostEnv
    scripted: list[Scripted]


def in_process() -> Case:
    scripted = [Scripted(script, n) for n, script in enumerate(SCRIPTS)]
    return Case(InProcess(list(scripted), SEEDS, "Scripted-v0"), scripted)


def native(mode: AutoresetMode) -> Case:
    scripted = [Scripted(script, n) for n, script in enumerate(SCRIPTS)]
    vector = SyncVectorEnv(
        [partial(lambda env: env, env) for env in scripted], autoreset_mode=mode
    )
    return Case(NativeVector(vector, SEEDS, "Scripted-v0", None), scripted)


def like_ale() -> Case:
    scripted = [Scripted(script, n) for n, script in enumerate(SCRIPTS)]
    return Case(NativeVector(LikeALE(scripted), SEEDS, "Scripted-v0", None), scripted)


def like_envpool() -> Case:
    scripted = [Scripted(script, n) for n, script in enumerate(SCRIPTS)]
    vector = LikeEnvPool(scripted, SEEDS)
    env = NativeVector(vector, SEEDS, "Scripted-v0", None, seeded=True)
    return Case(env, scripted)


CASES: dict[str, Callable[[], Case]] = {
    "in_process": in_process,
    "next_step": partial(native, AutoresetMode.NEXT_STEP),
    "same_step": partial(native, AutoresetMode.SAME_STEP),
    "disabled": partial(native, AutoresetMode.DISABLED),
    "like_ale": like_ale,
    "like_envpool": like_envpool,
}


class Collected(NamedTuple):
    """Successive rollouts, and the objects that collected them."""

    rollouts: list[Transitions]
    advantages: list[np.ndarray]  # [T, N] each
    records: list[list[Seen]]
    seeds: list[list[int | None]]


@cache
def acting() -> tuple[Policy, Agent]:
    """A policy whose critic depends on the state, with statistics that have an effect.

    All scripted environments have the same spaces.
    """
    policy = make_policy(in_process().env.spec, NetworkConfig(hidden=(8,)))
    stats = ObsStats(
        jnp.array([0, 10], jnp.uint32),
        jnp.array([0.5, 1.0]),
        jnp.array([0.25, 4.0]),
        jnp.float32(10),
    )
    return policy, Agent(policy.init(jax.random.key(3)), stats)


@jax.jit
def advantage(transitions: Transitions) -> jax.Array:
    """Â [T, N] of transitions, as training computes it."""
    policy, agent = acting()
    rollout = complete(policy, agent, transitions, transitions.reward)
    gamma, gae_lambda = jnp.float32(GAMMA), jnp.float32(GAE_LAMBDA)
    return rollout_advantage(rollout, gamma, gae_lambda)[0]


@jax.jit
def critic(obs: jax.Array) -> jax.Array:
    policy, agent = acting()
    return policy.apply(agent.params, (), obs, jnp.zeros(len(obs), bool))[2]


def value(obs: np.ndarray) -> np.ndarray:
    """V [n] of observations [n, 2], padded so that one program compiles."""
    scaled = (obs - np.array([0.5, 1.0])) / np.sqrt([0.25, 4.0])
    rows = np.zeros((LONG, 2), np.float32)
    rows[: len(obs)] = scaled
    return np.asarray(critic(rows), np.float64)[: len(obs)]


def collect(case: Case) -> Collected:
    policy, agent = acting()
    spec, usual = case.env.spec, in_process().env.spec
    assert (spec.obs, spec.action) == (usual.obs, usual.action)
    collector = HostCollector(case.env, policy, NUM_STEPS)
    rollouts, advantages = [], []
    for k in range(ROLLOUTS):
        transitions = collector.collect(agent, jax.random.key(k))
        # the collector writes into the same buffers again
        rollouts.append(jax.tree.map(np.array, transitions))
        advantages.append(np.asarray(advantage(rollouts[-1])))
    records = [env.record for env in case.scripted]
    return Collected(
        rollouts, advantages, records, [env.seeds for env in case.scripted]
    )


@pytest.fixture(scope="module", params=CASES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def all_collected() -> dict[str, Collected]:
    return {name: collect(make()) for name, make in CASES.items()}


@pytest.fixture
def collected(mode: str, all_collected: dict[str, Collected]) -> Collected:
    return all_collected[mode]


def closed_form(record: list[Seen]) -> np.ndarray:
    """Â of the transitions of an environment that are in one rollout."""
    now = value(np.stack([seen.obs for seen in record]))
    after = value(np.stack([seen.next_obs for seen in record]))
    advantage = np.zeros(len(record))
    for i in range(len(record)):
        factor = 1.0
        for j in range(i, len(record)):
            bootstrap = 0.0 if record[j].terminated else after[j]
            advantage[i] += factor * (record[j].reward + GAMMA * bootstrap - now[j])
            factor *= GAMMA * GAE_LAMBDA
            if record[j].done:
                break
    return advantage


def by_rollout(collected: Collected, n: int) -> list[list[Seen]]:
    """Environment n's record, split at the ends of the rollouts."""
    counts = [int(rollout.weight[:, n].sum()) for rollout in collected.rollouts]
    ends = np.cumsum([0, *counts])
    assert ends[-1] == len(collected.records[n])  # a phantom is no step
    return [collected.records[n][a:b] for a, b in pairwise(ends)]


@pytest.mark.parametrize("n", range(len(SCRIPTS)))
def test_autoreset_advantages_follow_the_definition(
    collected: Collected, n: int
) -> None:
    for k, record in enumerate(by_rollout(collected, n)):
        real = collected.rollouts[k].weight[:, n] > 0
        np.testing.assert_allclose(
            collected.advantages[k][real, n],
            closed_form(record),
            atol=TOLERANCE,
            rtol=TOLERANCE,
        )


@pytest.mark.parametrize("n", range(len(SCRIPTS)))
def test_autoreset_rollouts_hold_what_happened(collected: Collected, n: int) -> None:
    for rollout, record in zip(
        collected.rollouts, by_rollout(collected, n), strict=True
    ):
        real = rollout.weight[:, n] > 0
        np.testing.assert_array_equal(
            rollout.obs[:-1, n][real], [seen.obs for seen in record]
        )
        np.testing.assert_array_equal(
            rollout.action[real, n] + 5, [seen.action for seen in record]
        )
        np.testing.assert_array_equal(
            rollout.reward[real, n], np.float32([seen.reward for seen in record])
        )
        for field in ("terminated", "truncated"):
            np.testing.assert_array_equal(
                getattr(rollout, field)[real, n],
                [getattr(seen, field) for seen in record],
            )


def test_autoreset_phantoms_are_the_rows_after_an_end(
    mode: str, collected: Collected
) -> None:
    done = np.concatenate([r.terminated | r.truncated for r in collected.rollouts])
    weight = np.concatenate([r.weight for r in collected.rollouts])
    after_end = np.concatenate([np.zeros((1, len(SCRIPTS)), bool), done[:-1]])
    skips = mode in ("next_step", "like_envpool")
    phantom = after_end if skips else np.zeros_like(done)
    np.testing.assert_array_equal(weight == 0, phantom)


def test_autoreset_start_marks_the_first_observation_of_an_episode(
    collected: Collected,
) -> None:
    for k, rollout in enumerate(collected.rollouts):
        # the second element of the observation counts the steps of the episode
        first = rollout.obs[:, :, 1] == 0
        np.testing.assert_array_equal(rollout.start, first)
        if k:
            before = collected.rollouts[k - 1]
            np.testing.assert_array_equal(rollout.obs[0], before.obs[-1])
            np.testing.assert_array_equal(rollout.start[0], before.start[-1])


def test_autoreset_scripts_reach_every_case(mode: str, collected: Collected) -> None:
    last = [(r.terminated[-1], r.truncated[-1]) for r in collected.rollouts]
    assert any(truncated[n] for _, truncated in last for n in (0, 1)), mode
    if mode not in ("next_step", "like_envpool"):
        assert any(terminated[0] and not truncated[0] for terminated, truncated in last)
    ends = {(s.terminated, s.truncated) for s in collected.records[0] if s.done}
    assert ends == {(True, False), (False, True), (True, True)}


def test_autoreset_environments_are_seeded_once(collected: Collected) -> None:
    for seed, given in zip(SEEDS, collected.seeds, strict=True):
        assert given[0] == seed
        assert set(given[1:]) <= {None}


def test_autoreset_modes_agree_on_whole_episodes() -> None:
    """One long rollout: the episodes that end inside it have the same advantages."""

    def whole(make: Callable[[], Case]) -> np.ndarray:
        case = make()
        policy, agent = acting()
        collector = HostCollector(case.env, policy, LONG)
        transitions = collector.collect(agent, jax.random.key(0))
        credit = np.asarray(advantage(transitions))
        real = transitions.weight > 0
        # 21 transitions make the seven episodes of environment 0, 15 the five of 1
        return np.concatenate(
            [credit[real[:, n], n][:count] for n, count in enumerate((21, 15, 40))]
        )

    ours, *theirs = [whole(make) for make in CASES.values()]
    for credits in theirs:
        np.testing.assert_allclose(credits, ours, atol=TOLERANCE, rtol=TOLERANCE)


def test_native_cartpole_follows_the_dynamics_and_weighs_its_resets_nothing() -> None:
    config = EnvConfig("CartPole-v1", 6, max_episode_steps=25)
    env = make_host_env(config, list(range(6)), vectorizer="native")
    assert env.spec.max_episode_steps == 25
    policy = make_policy(env.spec, NetworkConfig(hidden=(8,)))
    agent = Agent(policy.init(jax.random.key(0)), None)
    collector = HostCollector(env, policy, 64)
    one = gymnasium.make("CartPole-v1").unwrapped
    one.reset(seed=0)
    real = terminated = truncated = 0
    for k in range(2):
        rollout = collector.collect(agent, jax.random.key(k))
        done = rollout.terminated | rollout.truncated
        np.testing.assert_array_equal(rollout.weight[1:] == 0, done[:-1])
        np.testing.assert_array_equal(rollout.start[2:], done[:-1])
        assert (np.abs(rollout.obs[rollout.start]) <= 0.05).all()  # its reset
        for t, n in np.argwhere(rollout.weight > 0):
            one.state = tuple(rollout.obs[t, n].astype(float))
            one.steps_beyond_terminated = None
            after, reward, ended, _, _ = one.step(int(rollout.action[t, n]))
            # one float32 rounding of the state, amplified by one step
            np.testing.assert_allclose(rollout.obs[t + 1, n], after, atol=1e-5)
            assert rollout.reward[t, n] == reward
            assert rollout.terminated[t, n] == ended
        real += int(rollout.weight.sum())
        terminated += int(rollout.terminated.sum())
        truncated += int((rollout.truncated & ~rollout.terminated).sum())
    env.close()
    assert terminated > 0
    assert truncated > 0
    assert real < 2 * 64 * 6
