"""Running statistics against NumPy, and when they move."""

from functools import partial
from typing import Any

import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.toys import (
    DISCRETE,
    FLAT,
    TWO_KEYS,
    linear_policy,
    quick_jit,
    random_transitions,
    run_config,
)
from support.toys import spec_of as toy_spec

from pgcli.config.schema import NormalizeConfig
from pgcli.envs.base import Box, Discrete
from pgcli.nn.normalize import (
    ObsStats,
    init_obs_stats,
    init_reward_scaler,
    merge_moments,
    normalize_obs,
    scale_reward,
    update_obs_stats,
    update_reward_scaler,
)
from pgcli.rollout.policy_outputs import complete
from pgcli.training.loops.base import from_words, to_words
from pgcli.training.step import init_run, learn, make_knobs, make_setup

WRAP = 2**32
SHAPE = (4, 3)
merge = quick_jit(merge_moments)
update_stats = quick_jit(update_obs_stats)
update_scaler = quick_jit(update_reward_scaler)

batches = st.lists(
    st.tuples(
        hnp.arrays(np.float32, (*SHAPE, 2), elements=st.floats(-100, 100, width=32)),
        hnp.arrays(bool, SHAPE),
    ),
    min_size=1,
    max_size=4,
)


@given(batches)
def test_merge_moments_equals_numpy_on_all_real_samples(batches: list) -> None:
    count, mean, var = 0, np.zeros(2, np.float32), np.ones(2, np.float32)
    for x, real in batches:
        mean, var = merge(to_words(count), mean, var, x, real.astype(np.float32))
        count += real.sum()
    whole = np.concatenate([x[real] for x, real in batches]).astype(np.float64)
    if len(whole) == 0:
        whole = np.array([[-1.0] * 2, [1.0] * 2])  # mean 0, variance 1: as they began
    # a few roundings of numbers up to 100, and up to 100² for the variance
    np.testing.assert_allclose(mean, whole.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(var, whole.var(axis=0), rtol=1e-4, atol=0.02)


def test_merge_moments_matches_numbers_worked_by_hand() -> None:
    # two samples of mean 1 and variance 4 join (5, 7), of mean 6 and variance 1:
    # share ½, δ = 5: mean 1 + ½·5 = 3.5, var ½·4 + ½·1 + ¼·25 = 8.75
    mean, var = merge(
        to_words(2), np.float32(1), np.float32(4), np.float32([5, 7]), np.ones(2, "f")
    )
    assert (mean, var) == (3.5, 8.75)


def test_merge_moments_holds_on_where_float32_cannot_count() -> None:
    # 2³² earlier samples: one more moves the mean by 2⁻³², less than a rounding
    mean, var = merge(
        to_words(WRAP), np.float32(2), np.float32(3), np.float32([9]), np.ones(1, "f")
    )
    np.testing.assert_allclose([mean, var], [2, 3], rtol=1e-6)


@pytest.mark.parametrize("start", [2**24, WRAP - 5])
def test_obs_stats_count_is_exact(start: int) -> None:
    # float32 would lose the 7 at 2²⁴ already
    stats = init_obs_stats(FLAT, 10.0).replace(count=to_words(start))
    weight = np.ones((3, 3), np.float32)
    weight[0, :2] = 0
    for i in range(1, 4):
        stats = update_stats(stats, np.ones((3, 3, 2), np.float32), weight)
        assert from_words(stats.count) == start + 7 * i


def test_obs_stats_move_by_real_samples_of_every_component() -> None:
    rng = np.random.default_rng(0)
    obs = {
        "image": rng.integers(0, 255, (*SHAPE, 2, 2)).astype(np.uint8),
        "flat": rng.normal(3, 2, (*SHAPE, 2)).astype(np.float32),
    }
    real = rng.random(SHAPE) < 0.6
    space = {"image": Box((2, 2), "uint8", 0, 255), "flat": FLAT}
    stats = update_stats(init_obs_stats(space, 10.0), obs, real.astype(np.float32))
    assert from_words(stats.count) == real.sum()
    for name, x in obs.items():
        exact = x[real].astype(np.float64)
        np.testing.assert_allclose(stats.mean[name], exact.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(stats.var[name], exact.var(axis=0), rtol=1e-4)


def test_obs_stats_leave_categories_alone() -> None:
    # a number that names a category has no mean, and must stay fit for one-hot
    obs = {
        "place": np.full((*SHAPE, 2), 7, np.float32),
        "clock": np.full(SHAPE, 3, np.int32),
    }
    fresh = init_obs_stats(TWO_KEYS, 10.0)
    stats = update_stats(fresh, obs, np.ones(SHAPE, np.float32))
    found = quick_jit(normalize_obs)(stats, obs)
    np.testing.assert_array_equal(found["clock"], obs["clock"])
    assert found["clock"].dtype == np.int32
    np.testing.assert_array_equal(found["place"], 0)
    alone = init_obs_stats(Discrete(4), 10.0)
    alone = update_stats(alone, obs["clock"], np.ones(SHAPE, np.float32))
    np.testing.assert_array_equal(
        quick_jit(normalize_obs)(alone, obs["clock"]), obs["clock"]
    )
    assert from_words(alone.count) == 12


STATS = ObsStats(
    to_words(5), np.float32([1, 2]), np.float32([4, 0.25]), np.float32(3.0)
)


def test_normalize_obs_standardises_and_bounds() -> None:
    # (5 − 1)/2 = 2; (1 − 2)/½ = −2; (9 − 1)/2 = 4 and (4 − 2)/½ = 4, bounded to 3
    found = quick_jit(normalize_obs)(STATS, np.float32([[5, 1], [9, 4]]))
    np.testing.assert_allclose(found, [[2, -2], [3, 3]], rtol=1e-6)


def test_normalize_obs_takes_any_batch_axes_alike() -> None:
    obs = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
    run = quick_jit(normalize_obs)
    whole = run(STATS, obs)
    np.testing.assert_array_equal(run(STATS, obs[2]), whole[2])
    np.testing.assert_array_equal(run(STATS, obs[2, 1]), whole[2, 1])


def test_normalize_obs_without_statistics_is_the_observation() -> None:
    obs = {"image": np.zeros(3, np.uint8)}
    assert normalize_obs(None, obs) is obs


def scaler_after(
    reward: Any, done: Any, weight: Any = None, gamma: float = 0.5, **start: Any
) -> Any:
    """One environment's rewards [T] through the scaler."""
    reward = np.float32(reward)[:, None]
    weight = np.ones_like(reward) if weight is None else np.float32(weight)[:, None]
    scaler = init_reward_scaler(1).replace(**start)
    return update_scaler(
        scaler, reward, np.bool_(done)[:, None], weight, np.float32(gamma)
    )


def test_reward_scaler_accumulator_resets_after_the_last_reward() -> None:
    # γ = ½: returns 1, ½ + 2 = 2.5 (its last reward counts), then anew: 4, 2 + 8 = 10
    after = scaler_after([1, 2, 4, 8], [False, True, False, False])
    np.testing.assert_allclose(after.var, np.var([1, 2.5, 4, 10]), rtol=1e-6)
    np.testing.assert_allclose(after.mean, np.mean([1, 2.5, 4, 10]), rtol=1e-6)
    assert after.discounted[0] == 10
    assert from_words(after.count) == 4


def test_reward_scaler_begins_anew_when_the_rollout_ends_an_episode() -> None:
    assert scaler_after([1, 2], [False, True]).discounted[0] == 0


def test_reward_scaler_goes_on_in_the_next_rollout() -> None:
    after = scaler_after([1], [False], discounted=np.float32([6]))
    assert after.discounted[0] == 4  # ½·6 + 1


def test_reward_scaler_sees_no_phantom_step() -> None:
    # the episode ends, the autoreset step in between has a reward that is not real
    after = scaler_after([1, 2, 99, 4], [False, True, False, False], [1, 1, 0, 1])
    np.testing.assert_allclose(after.var, np.var([1, 2.5, 4]), rtol=1e-6)
    assert after.discounted[0] == 4
    assert from_words(after.count) == 3


def test_reward_scaler_counts_past_the_wrap() -> None:
    after = scaler_after([1, 2], [False, False], count=to_words(WRAP - 1))
    assert from_words(after.count) == WRAP + 1


def test_scale_reward_divides_by_the_deviation_and_subtracts_nothing() -> None:
    scaler = init_reward_scaler(1).replace(mean=np.float32(50), var=np.float32(16))
    found = quick_jit(scale_reward)(
        scaler, np.float32([[8], [-2], [400]]), np.float32(10)
    )
    np.testing.assert_allclose(found, [[2], [-0.5], [10]], rtol=1e-6)


@pytest.fixture(scope="module")
def learned() -> dict[str, Any]:
    """One iteration with both normalisers, from statistics that are not fresh."""
    config = run_config(
        num_epochs=2,
        num_minibatches=2,
        normalize=NormalizeConfig(obs=True, reward=True, clip=5.0),
    )
    policy = linear_policy(toy_spec())
    setup, knobs = make_setup(config, toy_spec(), policy), make_knobs(config)
    state = quick_jit(lambda key: init_run(setup, knobs, key))(jax.random.key(0))
    agent = state.learner.agent
    stats = agent.obs_stats.replace(
        count=to_words(50), mean=np.float32([0.5, -1]), var=np.float32([4, 0.5])
    )
    scaler = state.reward_scaler.replace(count=to_words(50), var=np.float32(9))
    learner = state.learner.replace(agent=agent.replace(obs_stats=stats))
    state = state.replace(learner=learner, reward_scaler=scaler)
    transitions = random_transitions(DISCRETE, 0, 8, 4)
    weight = transitions.weight.copy()
    weight[3, 1] = 0
    transitions = transitions.replace(weight=weight)
    budget, key = to_words(1000), jax.random.key(3)
    after, report = quick_jit(partial(learn, setup))(
        knobs, state, transitions, budget, key
    )
    return locals()


def test_learn_updates_with_the_statistics_from_before(learned: dict) -> None:
    setup, state = learned["setup"], learned["state"]

    @quick_jit
    def by_hand(hyper: Any, transitions: Any) -> Any:
        reward = transitions.reward / 3  # √9; none is as large as the bound
        rollout = complete(setup.policy, state.learner.agent, transitions, reward)
        progress = jnp.float32(0)
        return setup.algorithm.update(
            hyper, state.learner, rollout, progress, learned["key"]
        )[0].agent.params

    expected = by_hand(learned["knobs"].hyper, learned["transitions"])
    found = learned["after"].learner.agent.params
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), found, expected
    )


def test_learn_moves_obs_statistics_once_by_real_raw_observations(
    learned: dict,
) -> None:
    transitions, stats = learned["transitions"], learned["stats"]
    found = learned["after"].learner.agent.obs_stats
    expected = update_stats(stats, transitions.obs[:-1], transitions.weight)
    assert from_words(found.count) == 50 + 31
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-5)
    np.testing.assert_allclose(found.var, expected.var, rtol=1e-5)


def test_learn_moves_the_reward_scaler_once_by_raw_rewards(learned: dict) -> None:
    transitions = learned["transitions"]
    done = transitions.terminated | transitions.truncated
    expected = update_scaler(
        learned["scaler"],
        transitions.reward,
        done,
        transitions.weight,
        learned["knobs"].hyper.algo.gamma,
    )
    found = learned["after"].reward_scaler
    assert from_words(found.count) == 50 + 31
    np.testing.assert_allclose(found.var, expected.var, rtol=1e-5)
    np.testing.assert_allclose(found.discounted, expected.discounted, rtol=1e-5)


def test_learn_counts_real_transitions_only(learned: dict) -> None:
    assert from_words(learned["report"].steps) == 31
    assert from_words(learned["after"].steps) == 31
