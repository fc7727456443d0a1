"""Evaluation on the device: a fixed quota of episodes per environment."""

from typing import Any

import jax
import jax.numpy as jnp

from pgcli.arrays import compensated_sum
from pgcli.arrays.shapes import Array, Float, Int, Key
from pgcli.envs.base import DeviceEnv
from pgcli.nn.policy import Agent, Policy, act
from pgcli.rollout.device_collector import (
    DeviceEnvState,
    begin,
    env_keys,
    step_and_reset,
)


def evaluate_on_device(
    env: DeviceEnv,
    policy: Policy,
    episodes: int,
    deterministic: bool,
    agent: Agent,
    key: Key[Array, ""],
) -> tuple[Float[Array, " E"], Int[Array, " E"]]:
    """Unscaled returns and lengths of one episode in each of E environments.

    Every environment plays exactly one episode of any length: stopping at a number of
    steps would favour short episodes. The agent's statistics stay frozen. Consumes the
    key.
    """
    begin_key, run_key = jax.random.split(key)
    first = begin(env, policy, begin_key, episodes)

    def unfinished(carry: Any) -> Array:
        return ~jnp.all(carry[3])

    def step(carry: Any) -> Any:
        # act: π(·|s) for E observations, its mode or a sample
        now, total, lengths, over, count = carry
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
        after = DeviceEnvState(state, obs, done, memory)
        return after, total, lengths, over | done, count + 1

    # no returns, lengths and ends yet: [E]
    none = (
        (jnp.zeros(episodes), jnp.zeros(episodes)),
        jnp.zeros(episodes, jnp.int32),
        jnp.zeros(episodes, bool),
    )
    _, total, lengths, _, _ = jax.lax.while_loop(
        unfinished, step, (first, *none, jnp.uint32(0))
    )
    return total[0] + total[1], lengths
