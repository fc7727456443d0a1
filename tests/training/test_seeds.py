"""All streams of random numbers are distinct."""

import itertools

import jax
import numpy as np
import pytest

from pgcli.config.schema import EnvConfig
from pgcli.envs.make import make_device_env
from pgcli.rollout.device_collector import env_keys
from pgcli.training.seeds import ROLES, Role, env_seeds, role_key
from pgcli.training.step import iteration_keys

RUN_SEEDS = (0, 1, 2, 2**32 - 1)


def words(keys: jax.Array) -> set[tuple[int, ...]]:
    data = np.asarray(jax.random.key_data(keys))
    return {tuple(row) for row in data.reshape(-1, data.shape[-1]).tolist()}


@jax.jit
def of_iteration(key: jax.Array, iteration: jax.Array) -> list[jax.Array]:
    """All keys of an iteration of 16 environments and 8 steps."""
    collect_key, update_key = iteration_keys(key, iteration)
    noise_key, env_key = jax.random.split(collect_key)
    steps = jax.vmap(jax.random.split)(jax.random.split(env_key, 8))
    per_step = jax.vmap(jax.vmap(lambda key: env_keys(key, 16)))(steps)
    return [update_key[None], env_keys(noise_key, 16), per_step.reshape(-1)]


def stream(seed: int, role: Role) -> set[tuple[int, ...]]:
    """All keys of 40 iterations."""
    key = role_key(seed, role)
    used: set[tuple[int, ...]] = set()
    count = 0
    for iteration in range(40):
        for keys in of_iteration(key, np.uint32(iteration)):
            used |= words(keys)
            count += keys.size
    assert len(used) == count  # no key is used twice
    return used


def test_streams_of_roles_and_run_seeds_share_no_key() -> None:
    streams = [stream(seed, "train") for seed in RUN_SEEDS]
    streams += [stream(0, role) for role in ROLES if role != "train"]
    for a, b in itertools.combinations(streams, 2):
        assert not a & b


def test_host_seeds_of_roles_run_seeds_and_restarts_are_all_different() -> None:
    every = [
        s
        for seed in RUN_SEEDS
        for role in ROLES
        for restart in (0, 1, 140)
        for s in env_seeds(seed, role, 64, restart)
    ]
    # 3,072 of 2³¹ numbers: two are equal with a probability of 0.2 %
    assert len(set(every)) == len(every) == 4 * 4 * 3 * 64
    assert all(0 <= s < 2**31 for s in every)


def test_host_seeds_do_not_depend_on_how_many_there_are() -> None:
    assert env_seeds(3, "train", 64)[:8] == env_seeds(3, "train", 8)


@pytest.mark.parametrize("env_id", ["func:CartPole-v1", "func:Pendulum-v1"])
def test_runs_with_neighbouring_seeds_begin_in_different_states(env_id: str) -> None:
    env = make_device_env(EnvConfig(env_id))
    first = [
        np.asarray(
            jax.vmap(env.reset)(
                env_keys(jax.random.fold_in(role_key(seed, "init"), 1), 32)
            )[1]
        )
        for seed in (0, 1)
    ]
    everything = np.concatenate(first)
    assert len(np.unique(everything, axis=0)) == 64
