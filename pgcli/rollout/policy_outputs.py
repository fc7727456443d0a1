"""From transitions to a rollout: outputs of the policy and the critic."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from pgcli.arrays.device_mesh import COLUMNS, EVERYWHERE, per_device
from pgcli.arrays.sample_blocks import map_blocks
from pgcli.arrays.shapes import Array, Float
from pgcli.nn.normalize import normalize_obs
from pgcli.nn.policy import Agent, Carry, Params, Policy, Unrolled, unroll
from pgcli.rollout.types import (
    ROLLOUT_SPECS,
    TRANSITION_SPECS,
    Outcomes,
    Rollout,
    Samples,
    Transitions,
    shared_fields,
)


def complete(
    policy: Policy, agent: Agent, transitions: Transitions, reward: Float[Array, "T N"]
) -> Rollout:
    """The rollout of `transitions` under the agent that collected them.

    Distributions, log-probabilities and values of the whole rollout come from one
    batched pass (a scan over time if the policy is recurrent).

    Args:
      policy: the policy.
      agent: the parameters and statistics that acted.
      transitions: as collected.
      reward: the rewards to learn from, scaled or unscaled.
    """
    local = per_device(
        partial(_complete, policy),
        in_specs=(EVERYWHERE, TRANSITION_SPECS, COLUMNS),
        out_specs=ROLLOUT_SPECS,
    )
    rollout: Rollout = local(agent, transitions, reward)
    return rollout


def _complete(
    policy: Policy, agent: Agent, transitions: Transitions, reward: Array
) -> Rollout:
    # obs [T + 1, N, …]: T rows to act on, and one after the last step
    obs = normalize_obs(agent.obs_stats, transitions.obs)
    final_obs = normalize_obs(agent.obs_stats, transitions.final_obs)
    first = jax.tree.map(lambda x: x[:-1], obs)
    last = jax.tree.map(lambda x: x[-1], obs)
    start = transitions.start[:-1]
    seen = unroll_blocks(policy, agent.params, transitions.first_carry, first, start)
    # next_value is computed from the other fields of the rollout, so it comes last
    collected = shared_fields(transitions, Samples, Outcomes)
    changed = {"obs": first, "start": start, "reward": reward, "final_obs": final_obs}
    rollout = Rollout(
        **(collected | changed),
        dist=seen.dist,
        logp=seen.dist.log_prob(transitions.action),
        value=seen.value,
        next_value=jnp.zeros_like(seen.value),
        last_obs=last,
        last_start=transitions.start[-1],
    )
    return rollout.replace(next_value=next_values(policy, agent.params, rollout, seen))


def unroll_blocks(
    policy: Policy, params: Params, first_carry: Carry, obs: Any, start: Array
) -> Unrolled:
    """`unroll` over [T, N]; in blocks of samples, if the policy carries no state."""
    if jax.tree.leaves(first_carry):
        return unroll(policy, params, first_carry, obs, start)

    def of_samples(samples: Any) -> Unrolled:
        return unroll(policy, params, first_carry, *samples)

    unrolled: Unrolled = map_blocks(of_samples, (obs, start))
    return unrolled


def revalue(policy: Policy, params: Params, rollout: Rollout) -> Rollout:
    """The rollout with V of `params` at s_t and s'_t; everything else unchanged."""

    def local(params: Params, rollout: Rollout) -> tuple[Array, Array]:
        seen = unroll_blocks(
            policy, params, rollout.first_carry, rollout.obs, rollout.start
        )
        return seen.value, next_values(policy, params, rollout, seen)

    value, next_value = per_device(
        local, in_specs=(EVERYWHERE, ROLLOUT_SPECS), out_specs=(COLUMNS, COLUMNS)
    )(params, rollout)
    return rollout.replace(value=value, next_value=next_value)


def next_values(
    policy: Policy, params: Params, rollout: Rollout, seen: Unrolled
) -> Float[Array, "T N"]:
    """V(s'_t): the next row's value, or the value of the episode's own last obs.

    Final observations are evaluated in blocks of N, so that a rollout without
    truncations costs nothing.
    """
    # within an episode s'_t is s_{t+1}: values shifted by a row, and one row more
    num_steps, num_envs = rollout.reward.shape
    last_carry = jax.tree.map(lambda x: x[-1], seen.carry)
    _, _, last_value = policy.apply(
        params, last_carry, rollout.last_obs, rollout.last_start
    )
    values = jnp.concatenate([seen.value[1:], last_value[None]])

    # after a truncation it is the episode's own final observation, at flat position
    # t·N + n; [C] of them, with the carry of their step
    size = num_steps * num_envs
    capacity = rollout.final_index.shape[0]
    if capacity == 0:
        return jnp.where(rollout.terminated, 0.0, values)
    block = min(num_envs, capacity)
    carries = jax.tree.map(lambda x: x.reshape(size, *x.shape[2:]), seen.carry)
    count = jnp.sum(rollout.final_index < size)

    def evaluate(state: tuple[Array, Array]) -> tuple[Array, Array]:
        done, values = state
        # the last block is moved back to fit and evaluates some entries twice
        begin = jnp.minimum(done, capacity - block)
        index = jax.lax.dynamic_slice_in_dim(rollout.final_index, begin, block)
        obs = jax.tree.map(
            lambda x: jax.lax.dynamic_slice_in_dim(x, begin, block), rollout.final_obs
        )
        carry = jax.tree.map(lambda x: x[jnp.minimum(index, size - 1)], carries)
        _, _, value = policy.apply(params, carry, obs, jnp.zeros(block, bool))
        return done + block, values.at[index].set(value, mode="drop")

    state: Any = (jnp.zeros((), count.dtype), values.reshape(size))
    _, values = jax.lax.while_loop(lambda state: state[0] < count, evaluate, state)
    return jnp.where(rollout.terminated, 0.0, values.reshape(num_steps, num_envs))
