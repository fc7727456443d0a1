"""Evaluation on the device: a fixed quota of episodes per environment."""

from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pgcli.arrays import compensated_sum
from pgcli.arrays.shapes import Array, Key
from pgcli.envs.base import DeviceEnv, EnvSpec, ObsSpace
from pgcli.nn.policy import Agent, Policy, act
from pgcli.rollout.device_collector import (
    DeviceEnvState,
    begin,
    env_keys,
    step_and_reset,
)
from pgcli.training.evaluation.episodes import Episodes, not_finite
from pgcli.training.rollout_faults import bad_parts, fields, leaves_of

_HASH = np.uint32(2654435761)


class Played(NamedTuple):
    """One episode in each of E environments; for M members, every array is [M, E]."""

    returns: Any
    lengths: Any
    first: Any
    """Hash of the first observation."""
    fault: Any
    """Field whose value ended the episode (`_faults`), else −1."""


def evaluate_on_device(
    env: DeviceEnv,
    policy: Policy,
    episodes: int,
    deterministic: bool,
    agent: Agent,
    key: Key[Array, ""],
) -> Played:
    """Unscaled returns and lengths of one episode in each of E environments.

    Every environment plays exactly one episode of any length: stopping at a number of
    steps would favour short episodes. The agent's statistics stay frozen. Consumes the
    key.
    """
    begin_key, run_key = jax.random.split(key)
    first = begin(env, policy, begin_key, episodes)

    faults = partial(_faults, env.spec.obs)

    def unfinished(carry: Any) -> Array:
        return ~jnp.all(carry[3])

    def step(carry: Any) -> Any:
        # act: π(·|s) for E observations, its mode or a sample
        now, total, lengths, over, fault, count = carry
        step_key, noise_key = jax.random.split(jax.random.fold_in(run_key, count))
        memory, dist = act(policy, agent, now.carry, now.obs, now.start)
        if deterministic:
            action = dist.mode()
        else:
            keys = env_keys(noise_key, episodes)
            noise = jax.vmap(lambda key: dist.noise(key, ()))(keys)
            action = dist.sample(noise)
        # step, and add up rewards until the first end of an episode
        state, obs, outcome = step_and_reset(env, step_key, now.state, action)
        done = outcome.terminated | outcome.truncated
        reward = jnp.where(over, 0.0, outcome.reward)
        total = compensated_sum.add(total[0], total[1], reward)
        lengths = lengths + (~over).astype(jnp.int32)
        # a value that is not finite ends an episode; after a termination, the
        # observation is not used
        found = faults(action, outcome.reward, outcome.obs, outcome.terminated)
        fault = jnp.where(over, fault, found)
        over = over | done | (fault >= 0)
        after = DeviceEnvState(state, obs, done, memory)
        return after, total, lengths, over, fault, count + 1

    # no returns and lengths yet: [E]
    zero = jnp.zeros(episodes)
    fault = faults(zero, zero, first.obs, jnp.zeros(episodes, bool))
    none = ((zero, zero), jnp.zeros(episodes, jnp.int32), fault >= 0, fault)
    _, total, lengths, _, fault, _ = jax.lax.while_loop(
        unfinished, step, (first, *none, jnp.uint32(0))
    )
    return Played(total[0] + total[1], lengths, _hashes(first.obs), fault)


def _faults(
    space: ObsSpace, action: Array, reward: Array, obs: Any, ended: Array
) -> Array:
    """Index of the first field with a value that cannot be used, for each row: [E].

    It is −1 without one, else an index of `fields`. Values are not finite, or no
    category of their space. The observation is ignored where the episode has ended.
    """
    parts = (bad_parts(part, x, 1) for part, x in leaves_of(space, obs))
    numbers = [bad_parts(None, x, 1) for x in (action, reward)]
    rows = jnp.stack([*numbers, *(bad & ~ended for bad in parts)])
    first = jnp.argmax(rows, axis=0).astype(jnp.int32)
    faults: Array = jnp.where(rows.any(axis=0), first, -1)
    return faults


def _hashes(obs: Any) -> Array:
    """Hash of each row of an observation: [E], uint32."""
    total: Array = jnp.uint32(0)
    for leaf in jax.tree.leaves(obs):
        flat = leaf.reshape(leaf.shape[0], -1)
        if jnp.issubdtype(flat.dtype, jnp.floating):
            flat = jax.lax.bitcast_convert_type(flat.astype(jnp.float32), jnp.uint32)
        weights = (2 * jnp.arange(flat.shape[1], dtype=jnp.uint32) + 1) * _HASH
        part = jnp.sum(
            flat.astype(jnp.uint32) * weights[None], axis=1, dtype=jnp.uint32
        )
        total = total * jnp.uint32(31) + part
    return total


def gather(parts: Iterable[Played], episodes: int) -> Played:
    """The first `episodes` of several waves, as NumPy arrays."""
    joined = (np.concatenate(x, axis=-1) for x in zip(*parts, strict=True))
    return Played(*(x[..., :episodes] for x in joined))


def checked(played: Played, spec: EnvSpec, seed: int) -> Episodes:
    """The episodes, if all values in them were finite.

    Raises:
      EnvironmentFailed: a reward or an observation was not finite.
      DivergedError: an action was not finite.
    """
    faulty = np.flatnonzero(played.fault >= 0)
    if faulty.size:
        n = int(faulty[0])
        field, problem = fields(spec.obs)[played.fault[n]]
        where = f"environment {spec.id}, seed {seed}"
        raise not_finite(field, n, int(played.lengths[n]) - 1, where, problem)
    count = len(played.returns)
    return Episodes(*played[:3], np.full(count, np.nan), np.arange(count))
