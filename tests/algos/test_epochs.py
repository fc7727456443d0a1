"""Batches, shuffles and the passes over them."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from support.toys import (
    CONTINUOUS,
    DISCRETE,
    gated_policy,
    linear_policy,
    quick_jit,
    random_rollout,
    random_transitions,
    spec_of,
)

from pgcli.algos.base import Hyperparameters, as_leaves
from pgcli.algos.batch import (
    Batch,
    make_batch,
    minibatch_moments,
    shuffle,
    shuffled_indices,
    split_batch,
)
from pgcli.algos.epochs import run_epochs
from pgcli.algos.optimizer import init_optimizer
from pgcli.config.algorithms import PPO2Config
from pgcli.config.schema import OptimizerConfig
from pgcli.nn.distributions import Categorical
from pgcli.rollout.types import Rollout

KEYS = 1000


@cache
def orders(size: int) -> np.ndarray:
    """`shuffled_indices` under a thousand keys: [KEYS, size]."""
    keys = jax.random.split(jax.random.key(size), KEYS)
    return np.asarray(quick_jit(jax.vmap(lambda k: shuffled_indices(k, size)))(keys))


@pytest.mark.parametrize("size", [1, 2, 4, 8, 64, 100, 256, 1024])
def test_shuffled_indices_are_a_permutation(size: int) -> None:
    expected = np.broadcast_to(np.arange(size), (KEYS, size))
    np.testing.assert_array_equal(np.sort(orders(size), axis=1), expected)


@pytest.mark.parametrize("size", [2, 8, 64, 100])
def test_shuffled_indices_put_every_index_everywhere(size: int) -> None:
    found = orders(size)
    # per position, the counts of 1,000 keys against equal chances; the smallest of
    # `size` p-values is above 1e-6 but for one in 1e6/size tables, and no key changes
    for position in range(size):
        counts = np.bincount(found[:, position], minlength=size)
        assert stats.chisquare(counts).pvalue > 1e-6


@pytest.mark.parametrize("size", [64, 256, 1024])
def test_shuffled_indices_part_neighbours(size: int) -> None:
    found = orders(size)
    # 2 of `size` places beside one another are adjacent in a random order
    beside = (np.abs(np.diff(found, axis=1)) == 1).sum(axis=1)
    np.testing.assert_allclose(beside.mean(), 2, atol=0.3)
    # and an affine map alone would repeat one difference throughout
    steps = [len(np.unique(np.diff(order) % size)) for order in found[:100]]
    assert np.mean(steps) > 0.55 * size


@pytest.mark.parametrize("distance", [1, 2, 16, 128])
def test_shuffled_indices_share_minibatches_by_chance_only(distance: int) -> None:
    quarter = np.argsort(orders(256), axis=1) // 64
    together = quarter == np.roll(quarter, distance, axis=1)
    # two of 256 are in the same quarter with probability 63/255 = 0.247
    np.testing.assert_allclose(together.mean(), 63 / 255, atol=0.01)


def test_shuffled_indices_differ_between_keys() -> None:
    assert len({tuple(order) for order in orders(64)}) == KEYS


def numbered(num_steps: int, num_envs: int) -> Rollout:
    """A rollout in which every field of a sample says which sample it is."""
    ids = np.arange(num_steps * num_envs).reshape(num_steps, num_envs)
    x, flags = ids.astype(np.float32), ids % 2 == 0
    return Rollout(
        obs={"image": ids.astype(np.uint8)[..., None], "flat": x[..., None]},
        action=ids.astype(np.int32),
        dist=Categorical(np.stack([x, x + 0.5], axis=-1, dtype=np.float32)),
        logp=x,
        value=x,
        next_value=x,
        reward=x,
        terminated=flags,
        truncated=flags,
        start=flags,
        weight=np.ones_like(x),
        first_carry=(),
        last_obs=(),
        last_start=flags[0],
        final_obs=(),
        final_index=np.zeros(0, np.int32),
    )


@cache
def split(shards: int, num_minibatches: int, recurrent: bool = False) -> tuple:
    """(batch, all minibatches of it stacked: [k, S, m, …]) of 8 environments."""
    rollout = numbered(12, 8)
    if recurrent:
        rollout = rollout.replace(first_carry=np.arange(8, dtype=np.float32)[:, None])

    @quick_jit
    def run(rollout: Rollout, key: jax.Array) -> tuple:
        batch = make_batch(rollout, rollout.logp, rollout.logp, shards)
        parts, read = split_batch(batch, shuffle(batch, key, num_minibatches, shards))
        return batch, jax.lax.map(read, parts)

    return run(rollout, jax.random.key(0))


splits = pytest.mark.parametrize(
    ("shards", "num_minibatches"), [(1, 1), (1, 4), (2, 4), (8, 4), (2, 3)]
)


@splits
def test_split_batch_covers_each_sample_once(shards: int, num_minibatches: int) -> None:
    _, found = split(shards, num_minibatches)
    size = 96 // shards // num_minibatches
    assert found.weight.shape == (num_minibatches, shards, size)
    np.testing.assert_array_equal(np.sort(found.action, axis=None), np.arange(96))


@splits
def test_split_batch_keeps_the_fields_of_a_sample_together(
    shards: int, num_minibatches: int
) -> None:
    _, found = split(shards, num_minibatches)
    ids = np.asarray(found.action)
    for field in (found.logp, found.value, found.advantage, found.return_):
        np.testing.assert_array_equal(field, ids)
    assert found.obs["image"].dtype == np.uint8
    np.testing.assert_array_equal(found.obs["image"][..., 0], ids)
    np.testing.assert_array_equal(found.obs["flat"][..., 0], ids)
    np.testing.assert_array_equal(found.dist.logits, ids[..., None] + [0, 0.5])
    np.testing.assert_array_equal(found.start, ids % 2 == 0)


def test_split_batch_never_moves_samples_between_rows() -> None:
    batch, found = split(2, 4)
    rows = np.sort(np.asarray(batch.action), axis=1)
    by_row = np.moveaxis(np.asarray(found.action), 1, 0).reshape(2, -1)
    np.testing.assert_array_equal(np.sort(by_row, axis=1), rows)
    # the first row holds environments 0 to 3, the second 4 to 7; id is 8t + n
    np.testing.assert_array_equal(rows % 8 // 4, [[0] * 48, [1] * 48])


def test_split_batch_shuffles() -> None:
    found = np.asarray(split(1, 4)[1].action).reshape(-1)
    assert (np.abs(np.diff(found)) == 1).sum() < 10  # 2 are expected


def test_split_batch_keeps_sequences_whole_for_recurrent_policies() -> None:
    batch, found = split(2, 2, recurrent=True)
    assert batch.weight.shape == (2, 4, 12)
    assert found.action.shape == (2, 2, 2, 12)
    env = np.asarray(found.first_carry)[..., 0]  # [k, S, m]
    np.testing.assert_array_equal(np.sort(env, axis=None), np.arange(8))
    # step t of the environment that the carry belongs to, in the order of time
    expected = np.arange(12) * 8 + env[..., None]
    np.testing.assert_array_equal(found.action, expected)
    np.testing.assert_array_equal(found.obs["flat"][..., 0], expected)
    # half of each minibatch comes from each row of environments
    np.testing.assert_array_equal(env // 4, [[[0, 0], [1, 1]]] * 2)


Passes = Callable[..., tuple[jax.Array, Any, dict[str, jax.Array]]]


def make_passes(num_minibatches: int, refresh: Any = None) -> Passes:
    """Two passes that draw a number x from 0 towards the ids of the samples.

    (rollout, kl, kl_stop) -> (x, optimiser state, metrics); the policy's KL is made up.
    """
    config = as_leaves(OptimizerConfig(lr=0.1, max_grad_norm=None))

    @quick_jit
    def run(rollout: Rollout, kl: jax.Array, kl_stop: jax.Array) -> tuple:
        def loss(params: jax.Array, batch: Batch) -> tuple[jax.Array, dict]:
            error = jnp.sum(batch.weight * (params[0] - batch.advantage) ** 2)
            metrics = {"policy_loss": error, "kl": kl}
            return error / jnp.maximum(jnp.sum(batch.weight), 1), metrics

        params = jnp.zeros(1)
        algo = PPO2Config(
            num_epochs=2, num_minibatches=num_minibatches, kl_stop=kl_stop
        )
        return run_epochs(
            loss,
            Hyperparameters(algo, config),
            jnp.float32(0.1),
            params,
            init_optimizer(config, params),
            make_batch(rollout, rollout.reward, rollout.reward, 1),
            jax.random.key(1),
            refresh=refresh,
        )

    return lambda rollout, kl=0.0: run(rollout, np.float32(kl), np.float32(0.1))


EIGHT = numbered(4, 2)


@pytest.fixture(scope="module")
def one_by_one() -> Passes:
    return make_passes(num_minibatches=8)


def test_run_epochs_takes_one_step_per_minibatch(one_by_one: Passes) -> None:
    x, state, metrics = one_by_one(EIGHT)
    assert state.count == 16
    assert metrics["skipped"] == 0
    assert x[0] > 0


def test_run_epochs_takes_no_step_without_real_samples(one_by_one: Passes) -> None:
    weight = EIGHT.weight.copy()
    weight[1:3, 0] = 0
    # 6 of 8 minibatches of one sample are real, in each of 2 passes
    _, state, metrics = one_by_one(EIGHT.replace(weight=weight))
    assert state.count == 12
    assert metrics["skipped"] == 0


def test_run_epochs_of_nothing_real_change_nothing(one_by_one: Passes) -> None:
    x, state, metrics = one_by_one(EIGHT.replace(weight=0 * EIGHT.weight))
    assert x[0] == 0
    assert state.count == 0
    assert all(np.isfinite(value) for value in metrics.values())


def test_run_epochs_skip_and_count_what_is_not_finite(one_by_one: Passes) -> None:
    reward = EIGHT.reward.copy()
    reward[2, 1] = np.inf
    # its minibatch is left out in each of 2 passes; the other 7 are taken
    x, state, metrics = one_by_one(EIGHT.replace(reward=reward))
    assert metrics["skipped"] == 2
    assert state.count == 14
    assert all(np.isfinite(value) for value in (x[0], *metrics.values()))


@pytest.mark.parametrize(("kl", "steps"), [(0.5, 0), (0.01, 16)])
def test_run_epochs_freeze_before_the_step_once_kl_passes(
    one_by_one: Passes, kl: float, steps: int
) -> None:
    x, state, metrics = one_by_one(EIGHT, kl)
    assert state.count == steps
    assert (x[0] == 0) == (steps == 0)
    assert metrics["skipped"] == 0


def test_run_epochs_refresh_the_batch_at_every_pass_from_the_current_x() -> None:
    def refresh(params: jax.Array) -> Batch:
        target = 3 + jnp.zeros((4, 2)) + jnp.sum(params)
        return make_batch(jax.tree.map(jnp.asarray, EIGHT), target, target, 1)

    _, _, metrics = make_passes(1, refresh)(EIGHT)
    # Σ over 8 samples of (x − target)², and its mean's slope 2|x − target|: with the
    # target at 3 + x when each pass begins, 72 and 6 both times
    np.testing.assert_allclose(metrics["policy_loss"], 72, rtol=1e-6)
    np.testing.assert_allclose(metrics["grad_norm"], 6, rtol=1e-6)


@pytest.mark.parametrize("recurrent", [False, True], ids=["flat", "recurrent"])
@pytest.mark.parametrize("action", [DISCRETE, CONTINUOUS], ids=["discrete", "box"])
def test_make_batch_keeps_what_the_rollout_says(action: Any, recurrent: bool) -> None:
    spec = spec_of(action)
    policy = gated_policy(spec) if recurrent else linear_policy(spec)
    params = quick_jit(policy.init)(jax.random.key(0))
    transitions = random_transitions(action, 0, 6, 4, policy.initial_carry(4))
    rollout = random_rollout(policy, params, transitions)
    batch = quick_jit(partial(make_batch, shards=2))(
        rollout, rollout.reward, rollout.value
    )
    assert batch.recurrent == recurrent

    def as_rollout(x: Any) -> np.ndarray:
        x = np.asarray(x)
        if recurrent:
            # [S, N/S, T] -> [T, N]
            return np.moveaxis(x.reshape(4, 6, *x.shape[3:]), 0, 1)
        # [S, T·N/S] -> [T, N]
        return np.moveaxis(x.reshape(2, 6, 2, *x.shape[2:]), 0, 1).reshape(
            6, 4, *x.shape[2:]
        )

    np.testing.assert_array_equal(as_rollout(batch.obs), rollout.obs)
    np.testing.assert_array_equal(as_rollout(batch.advantage), rollout.reward)
    np.testing.assert_array_equal(as_rollout(batch.return_), rollout.value)
    for found, expected in zip(
        jax.tree.leaves(batch.dist), jax.tree.leaves(rollout.dist), strict=True
    ):
        np.testing.assert_array_equal(as_rollout(found), expected)


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("num_minibatches", [1, 2])
def test_minibatch_moments_are_those_of_the_parts(
    num_minibatches: int, recurrent: bool
) -> None:
    def run(batch: Batch, key: jax.Array) -> tuple:
        real = (batch.action % 3 > 0).astype(jnp.float32)
        batch = batch.replace(weight=real)
        order = shuffle(batch, key, num_minibatches, 2)
        parts, read = split_batch(batch, order)
        return minibatch_moments(batch, order), jax.lax.map(read, parts)

    (mean, variance), found = quick_jit(run)(
        split(2, num_minibatches, recurrent)[0], jax.random.key(0)
    )
    for part in range(num_minibatches):
        real = np.asarray(found.weight[part]) > 0
        assert 0 < real.sum() < real.size
        advantage = np.asarray(found.advantage[part])[real]
        np.testing.assert_allclose(mean[part], advantage.mean(), rtol=1e-6)
        np.testing.assert_allclose(variance[part], advantage.var(), rtol=1e-5)
