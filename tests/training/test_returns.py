"""Reported returns and lengths: no episode counts more than another, none is lost."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import long_sum, one_or_hundred
from support.small_runs import resolved, rows
from support.toys import forever, quick_jit

from pgcli.arrays import compensated_sum
from pgcli.config.schema import NetworkConfig
from pgcli.envs import user_modules
from pgcli.envs.base import Step
from pgcli.nn.policy import Agent, make_policy
from pgcli.training.evaluation.device import evaluate_on_device
from pgcli.training.run import train
from pgcli.training.state import (
    EpisodeTally,
    from_arrays,
    init_tally,
    recent_means,
    to_arrays,
    update_tally,
)

SHORT, LONG = 1, 10


def whole_batch(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(reward, done, weight) [T, N] of one episode per column, reward 1 a step."""
    row = np.arange(LONG)[:, None]
    weight = (row < lengths).astype(np.float32)
    return weight, row == lengths - 1, weight


@pytest.mark.parametrize(("num_envs", "batches"), [(8, 13), (64, 2), (256, 1)])
def test_recent_episodes_are_the_newest_whole_batches(
    num_envs: int, batches: int
) -> None:
    """The fewest batches that have 100 episodes: 13 of 8, 2 of 64, 1 of 256."""
    tally, update = init_tally(num_envs, "episodes"), quick_jit(update_tally)
    drawn = np.random.default_rng(0).random((15, num_envs))
    lengths = np.where(drawn < 0.5, SHORT, LONG)
    for batch in lengths:
        tally = update(tally, *whole_batch(batch))
    expected = lengths[-batches:].mean()
    np.testing.assert_allclose(recent_means(tally), [expected, expected], rtol=1e-6)


class State(NamedTuple):
    """A state as it is stored: arrays have the names that `RunState` gives them."""

    tally: EpisodeTally


def test_tally_of_older_checkpoints_is_read() -> None:
    """Rings had 100 slots for every algorithm, and sums no remainder."""
    older = State(init_tally(64).replace(recent_return=jnp.arange(100.0)))
    arrays = to_arrays(older)
    del arrays[".tally.remainder"]
    restored = from_arrays(State(init_tally(64, "episodes")), arrays, "here").tally
    ring = np.asarray(restored.recent_return)
    np.testing.assert_array_equal(ring, [*range(100), *range(28)])
    np.testing.assert_array_equal(restored.remainder, np.zeros(64))


@quick_jit
def _million(tally: EpisodeTally) -> EpisodeTally:
    """1,000 rollouts of 1,000 steps of 0.1; the episode ends with the last."""

    def rollout(i: Any, tally: EpisodeTally) -> EpisodeTally:
        done = (jnp.arange(1000) == 999) & (i == 999)
        ones = jnp.ones((1000, 1))
        return update_tally(tally, 0.1 * ones, done[:, None], ones)

    return jax.lax.fori_loop(0, 1000, rollout, tally)


def test_training_return_of_a_million_steps_is_exact_to_a_millionth() -> None:
    """A plain sum in float32 is 100,958."""
    return_mean, length_mean = recent_means(_million(init_tally(1)))
    assert abs(float(return_mean) - 100_000) < 0.1
    assert int(length_mean) == 1_000_000


def test_compensated_sum_keeps_what_rounding_drops() -> None:
    """At 2²⁴, a float32 sum does not change by 1."""
    total, remainder = jnp.float32(2**24), jnp.float32(0)
    for _ in range(10):
        total, remainder = compensated_sum.add(total, remainder, jnp.float32(1))
    assert float(total + remainder) == 2**24 + 10


def test_device_evaluation_keeps_what_rounding_drops() -> None:
    """A return of 2²⁴, then 10 steps of 1."""
    env = forever(11)

    def step(key: Any, state: Any, action: Any) -> tuple[Any, Step]:
        after, outcome = env.step(key, state, action)
        reward = jnp.where(state == 0, jnp.float32(2**24), outcome.reward)
        return after, outcome._replace(reward=reward)

    policy = make_policy(env.spec, NetworkConfig(hidden=(4,)))
    agent = Agent(policy.init(jax.random.key(0)), None)
    play = partial(evaluate_on_device, env._replace(step=step), policy, 2, True)
    returns = quick_jit(play)(agent, jax.random.key(1)).returns
    np.testing.assert_array_equal(returns, [2**24 + 10, 2**24 + 10])


@pytest.fixture
def _modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules of the environments, as named by `--env-module`."""
    monkeypatch.setattr(user_modules, "NAMED", [])
    user_modules.use([one_or_hundred.__name__, long_sum.__name__])


@pytest.mark.slow
@pytest.mark.usefixtures("_modules")
@pytest.mark.parametrize("num_envs", [8, 64, 256])
@pytest.mark.parametrize("env_id", [one_or_hundred.ID, "func:OneOrHundredFunc"])
def test_mean_of_all_rows_is_the_mean_of_all_episodes(
    env_id: str, num_envs: int, tmp_path: Path
) -> None:
    """50.5 within 3 standard errors: 49.5/√episodes, of about 5,900 episodes.

    A ring of 100 episodes in the order of their ends showed 52, 64 and 100.
    """
    sets = (f"env.num_envs={num_envs}", "steps=300000", "eval.every=0")
    unlimited = "env.max_episode_steps=null"
    run = resolved(env_id, *sets, unlimited, algo="reinforce")
    train(run, runs_dir=tmp_path, name="x")
    every = rows(tmp_path / "x/metrics.jsonl")
    error = 49.5 / every[-1]["episodes"] ** 0.5
    for column in ("return_mean", "length_mean"):
        mean = np.mean([row[column] for row in every])
        assert abs(mean - 50.5) < 3 * error, column


@pytest.mark.slow
@pytest.mark.usefixtures("_modules")
def test_return_of_a_million_steps_on_the_host(tmp_path: Path) -> None:
    sets = ("env.num_envs=1", "env.max_episode_steps=null", "steps=1001000")
    evaluation = ("eval.every=0", "eval.final_episodes=1")
    run = resolved(long_sum.ID, *sets, *evaluation, "rollout.num_steps=1024")
    result = train(run, runs_dir=tmp_path, name="x")
    assert abs(result["train"]["return_mean"] - 100_000) < 0.1
    assert abs(result["eval"]["return_mean"] - 100_000) < 0.1
