"""A lost life ends the credit of an episode, but not the reported episode."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import numpy as np
import pytest
from envs.host.test_autoreset import SEEDS, acting, advantage, closed_form
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from support.scripted_envs import (
    BOTH,
    TERMINATED,
    TRUNCATED,
    LikeALE,
    LikeEnvPool,
    Lived,
)

from pgcli.config.load import from_mapping
from pgcli.envs.base import HostEnv
from pgcli.envs.host.in_process import InProcess
from pgcli.envs.host.native_vector import NativeVector
from pgcli.errors import UsageError
from pgcli.rollout.host_collector import HostCollector
from pgcli.rollout.types import Transitions
from pgcli.training.state import RunState
from pgcli.training.step import (
    Report,
    end_on_life_loss,
    init_run,
    learn,
    make_knobs,
    make_setup,
)

NUM_STEPS, ROLLOUTS = 8, 4
# (losses, episodes): at the first step, at a rollout's last, at an end (no loss),
# after a truncation with a life gone, of the last life before the end
PARTS = (
    ((1, 3), ((4, TERMINATED), (4, TRUNCATED))),
    ((2, 5, 5, 6), ((7, TERMINATED), (3, BOTH))),
    ((2, 4), ((2, TRUNCATED), (5, TRUNCATED), (30, TERMINATED))),
)


def lived() -> list[Lived]:
    return [
        Lived(losses, episodes=episodes, index=n)
        for n, (losses, episodes) in enumerate(PARTS)
    ]


def standard(mode: AutoresetMode, envs: list[Lived]) -> HostEnv:
    makers = [partial(lambda env: env, env) for env in envs]
    vector = SyncVectorEnv(makers, autoreset_mode=mode)
    return NativeVector(vector, SEEDS, "Lived-v0", None)


VECTORIZERS: dict[str, Callable[[list[Lived]], HostEnv]] = {
    "in_process": lambda envs: InProcess(list(envs), SEEDS, "Lived-v0"),
    "next_step": partial(standard, AutoresetMode.NEXT_STEP),
    "same_step": lambda envs: NativeVector(LikeALE(envs), SEEDS, "Lived-v0", None),
    "envpool": lambda envs: NativeVector(
        LikeEnvPool(envs, SEEDS), SEEDS, "Lived-v0", None, seeded=True
    ),
}


@pytest.mark.parametrize("name", VECTORIZERS)
def test_lost_lives_are_where_the_game_says_and_end_its_credit(name: str) -> None:
    envs = lived()
    env = VECTORIZERS[name](envs)
    policy, agent = acting()
    collector = HostCollector(env, policy, NUM_STEPS, with_lives=True)
    rollouts = [
        jax.tree.map(np.array, collector.collect(agent, jax.random.key(k)))
        for k in range(ROLLOUTS)
    ]
    for n, one in enumerate(envs):
        assert any(one.truth)
        ends = np.cumsum([0, *(int(r.weight[:, n].sum()) for r in rollouts)])
        for rollout, (a, b) in zip(rollouts, pairwise(ends), strict=True):
            real, truth = rollout.weight[:, n] > 0, one.truth[a:b]
            np.testing.assert_array_equal(rollout.life_lost[real, n], truth)
            assert not rollout.life_lost[~real, n].any()
            record = [
                seen._replace(terminated=seen.terminated or lost)
                for seen, lost in zip(one.record[a:b], truth, strict=True)
            ]
            credit = np.asarray(advantage(end_on_life_loss(rollout)))
            np.testing.assert_allclose(
                credit[real, n], closed_form(record), atol=1e-6, rtol=1e-6
            )


def test_learning_from_signs_and_lives_tells_raw_returns_of_whole_games() -> None:
    settings = {
        "algo": {"name": "a2c"},
        "env": {"num_envs": 3},
        "rollout": {"num_steps": NUM_STEPS, "end_on_life_loss": True},
        "network": {"hidden": [4]},
        "normalize": {"reward_sign": True},
    }
    envs = lived()
    config = from_mapping(settings)
    env = VECTORIZERS["in_process"](envs)
    setup, knobs = make_setup(config, env.spec), make_knobs(config)
    collector = HostCollector(env, setup.policy, NUM_STEPS, with_lives=True)
    state = jax.jit(partial(init_run, setup))(knobs, jax.random.key(0))
    transitions = collector.collect(state.learner.agent, jax.random.key(1))
    # as a game that never pays and always charges would have it
    transitions = transitions.replace(reward=-transitions.reward)
    program = jax.jit(partial(learn, setup))

    def fit(state: RunState, transitions: Transitions) -> tuple[RunState, Report]:
        budget = np.array([1, 0], np.uint32)
        return program(knobs, state, transitions, budget, jax.random.key(2))

    after, report = fit(state, transitions)
    games = [
        (-sum(s.reward for s in part), len(part))
        for one in envs
        for part in whole_games(one)
    ]
    assert int(report.episodes[1]) == len(games) == 5
    reported = report.metrics["return_mean"], report.metrics["length_mean"]
    np.testing.assert_allclose(reported, np.mean(games, axis=0), rtol=1e-6)
    # signs are what it learned from: tripled rewards change nothing
    same, _ = fit(state, transitions.replace(reward=3 * transitions.reward))
    for x, y in zip(
        jax.tree.leaves(after.learner), jax.tree.leaves(same.learner), strict=True
    ):
        np.testing.assert_array_equal(x, y)
    # and lives too: without them the critic expects more to come
    blind, _ = fit(state, transitions.replace(life_lost=0 * transitions.life_lost != 0))
    moved = jax.tree.map(
        lambda x, y: bool(np.any(x != y)), after.learner, blind.learner
    )
    assert any(jax.tree.leaves(moved))


def whole_games(one: Lived) -> list[list[Any]]:
    """The games that ended within the first rollout."""
    cut = [i + 1 for i, seen in enumerate(one.record[:NUM_STEPS]) if seen.done]
    return [one.record[a:b] for a, b in pairwise([0, *cut])]


@pytest.mark.parametrize("vectorizer", ["in_process", "native"])
def test_lives_of_an_environment_without_them_are_refused(vectorizer: str) -> None:
    from support.scripted_envs import Scripted

    if vectorizer == "native":
        vector = SyncVectorEnv([Scripted])
        env: HostEnv = NativeVector(vector, [1], "Scripted-v0", None)
    else:
        env = InProcess([Scripted()], [1], "Scripted-v0")
    policy, agent = acting()
    collector = HostCollector(env, policy, 2, with_lives=True)
    with pytest.raises(UsageError, match="Scripted-v0 does not report how many lives"):
        collector.collect(agent, jax.random.key(0))
