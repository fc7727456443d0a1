"""Collection on the device: environments and policy in one `lax.scan`."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from pgcli.arrays.device_mesh import (
    EVERYWHERE,
    ROWS,
    first_index,
    on_cpu,
    per_device,
)
from pgcli.arrays.shapes import Array, Bool, Key
from pgcli.envs.actions import env_action
from pgcli.envs.base import DeviceEnv, Step
from pgcli.nn.policy import Agent, Carry, Policy, act, draw_noise
from pgcli.rollout.types import TRANSITION_SPECS, Transitions


class DeviceEnvState(struct.PyTreeNode):
    """N environments between two steps."""

    state: Any  # [N, …]
    obs: Any  # [N, *obs]
    start: Array  # [N]: `obs` begins an episode
    carry: Carry  # [N, …] or ()


def env_keys(
    key: Key[Array, ""], num_envs: int, first: Array | int = 0
) -> Key[Array, " N"]:
    """One key per environment, by its global index. Does not consume `key`."""
    indices = first + jnp.arange(num_envs, dtype=jnp.int32)
    return jax.vmap(lambda n: jax.random.fold_in(key, n))(indices)


def begin(
    env: DeviceEnv, policy: Policy, key: Key[Array, ""], num_envs: int
) -> DeviceEnvState:
    """N environments at the start of their first episodes. Consumes the key."""
    state, obs = jax.vmap(env.reset)(env_keys(key, num_envs))
    # Weak types, such as of a literal 0, would be lost by the first rollout, and the
    # next one would compile again.
    state = jax.tree.map(
        lambda x: x.astype(x.dtype) if jax.typeof(x).weak_type else x, state
    )
    return DeviceEnvState(
        state, obs, jnp.ones(num_envs, bool), policy.initial_carry(num_envs)
    )


def step_all(
    env: DeviceEnv,
    key: Key[Array, ""],
    state: Any,
    action: Any,
    first: Array | int = 0,
) -> tuple[Any, Step]:
    """Steps N environments and resets none. Consumes the key."""
    return _step(env, env_keys(key, _rows(action), first), state, action)


def _step(
    env: DeviceEnv, keys: Key[Array, " N"], state: Any, action: Any
) -> tuple[Any, Step]:
    def one(key: Array, state: Any, action: Any) -> tuple[Any, Step]:
        return env.step(key, state, env_action(env.spec.action, action))

    after: tuple[Any, Step] = jax.vmap(one)(keys, state, action)
    return after


def _rows(action: Any) -> int:
    return int(jax.tree.leaves(action)[0].shape[0])


def step_and_reset(
    env: DeviceEnv,
    key: Key[Array, ""],
    state: Any,
    action: Any,
    first: Array | int = 0,
) -> tuple[Any, Any, Step]:
    """Steps N environments and resets those that ended. Consumes the key.

    Returns:
      (state, obs, step): the state and observation to continue from, and the outcome
      of the step before any reset.
    """
    keys = _step_keys(key, _rows(action), first)
    return _step_and_reset(env, keys, state, action, first)


def _step_keys(
    key: Key[Array, ""], num_envs: int, first: Array | int
) -> tuple[Key[Array, " N"], Key[Array, ""]]:
    """(keys of a step, key of the resets after it). Consumes the key."""
    step_key, reset_key = jax.random.split(key)
    return env_keys(step_key, num_envs, first), reset_key


def _step_and_reset(
    env: DeviceEnv,
    keys: tuple[Key[Array, " N"], Key[Array, ""]],
    state: Any,
    action: Any,
    first: Array | int,
) -> tuple[Any, Any, Step]:
    step_keys, reset_key = keys
    state, step = _step(env, step_keys, state, action)
    done = step.terminated | step.truncated

    # resetting all and selecting rows is cheaper than one reset per environment; on a
    # CPU it is skipped at steps in which no episode ends. An accelerator would wait for
    # the host to choose the branch, and with thousands of environments one always ends
    def reset_done() -> tuple[Any, Any]:
        fresh = jax.vmap(env.reset)(env_keys(reset_key, _rows(action), first))
        return (*where_rows(done, fresh, (state, step.obs)),)

    if not on_cpu():
        return *reset_done(), step
    state, obs = jax.lax.cond(jnp.any(done), reset_done, lambda: (state, step.obs))
    return state, obs, step


def where_rows(condition: Bool[Array, " N"], a: Any, b: Any) -> Any:
    """Row n of each leaf from `a` where the condition holds, else from `b`."""

    def choose(x: Array, y: Array) -> Array:
        return jnp.where(condition.reshape(-1, *(1,) * (x.ndim - 1)), x, y)

    return jax.tree.map(choose, a, b)


def final_capacity(env: DeviceEnv, num_steps: int, num_envs: int) -> int:
    """The largest number of truncations in a rollout: one per time limit and env.

    One per step and env, if anything but the time limit can truncate.
    """
    limit = env.spec.max_episode_steps
    if limit is None or not env.cuts_at_limit_only:
        return num_steps * num_envs
    return num_envs * min(num_steps, num_steps // limit + 1)


def collect(
    env: DeviceEnv,
    policy: Policy,
    agent: Agent,
    env_state: DeviceEnvState,
    key: Key[Array, ""],
    num_steps: int,
) -> tuple[DeviceEnvState, Transitions]:
    """T steps of every environment under the agent. Consumes the key."""
    local = per_device(
        partial(_collect, env, policy, num_steps),
        in_specs=(EVERYWHERE, ROWS, EVERYWHERE),
        out_specs=(ROWS, TRANSITION_SPECS),
    )
    after: tuple[DeviceEnvState, Transitions] = local(agent, env_state, key)
    return after


def _collect(
    env: DeviceEnv,
    policy: Policy,
    num_steps: int,
    agent: Agent,
    env_state: DeviceEnvState,
    key: Key[Array, ""],
) -> tuple[DeviceEnvState, Transitions]:
    num_envs = env_state.start.shape[0]
    first = first_index(num_envs)
    # noise of all actions at once: [T, N, …], by global index of the environment
    noise_key, env_key = jax.random.split(key)
    noise = draw_noise(
        policy, agent, env.spec.obs, env_keys(noise_key, num_envs, first), num_steps
    )
    # keys of all steps at once, too: for few environments the number of operations
    # counts. Those of resets are left to the steps in which an episode ends
    keys = jax.vmap(lambda key: _step_keys(key, num_envs, first))(
        jax.random.split(env_key, num_steps)
    )

    # one row: act on the current observations, step, reset those that ended
    def step(now: DeviceEnvState, inputs: Any) -> tuple[DeviceEnvState, Any]:
        keys, noise = inputs
        carry, dist = act(policy, agent, now.carry, now.obs, now.start)
        action = dist.sample(noise)
        state, obs, outcome = _step_and_reset(
            env, keys, now.state, policy.squash(action), first
        )
        done = outcome.terminated | outcome.truncated
        return (
            DeviceEnvState(state, obs, done, carry),
            (now.obs, now.start, action, outcome),
        )

    after, (obs, start, action, outcome) = jax.lax.scan(step, env_state, (keys, noise))

    # observations that followed a truncated step, before the reset: [C, *obs] and
    # their flat positions [C], padded with T·N
    cut = (outcome.truncated & ~outcome.terminated).reshape(-1)
    size = num_steps * num_envs
    capacity = final_capacity(env, num_steps, num_envs)
    (final_index,) = jnp.nonzero(cut, size=capacity, fill_value=size)
    final_obs = jax.tree.map(
        lambda x: x.reshape(size, *x.shape[2:])[jnp.minimum(final_index, size - 1)],
        outcome.obs,
    )

    # [T + 1]: the last row of obs and start is the first of the next rollout
    transitions = Transitions(
        obs=jax.tree.map(lambda x, y: jnp.concatenate([x, y[None]]), obs, after.obs),
        action=action,
        reward=outcome.reward,
        terminated=outcome.terminated,
        truncated=outcome.truncated,
        start=jnp.concatenate([start, after.start[None]]),
        weight=jnp.ones((num_steps, num_envs), jnp.float32),
        final_obs=final_obs,
        final_index=final_index,
        first_carry=env_state.carry,
    )
    return after, transitions
