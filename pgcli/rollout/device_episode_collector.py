"""Collection of whole episodes on the device: one trajectory per column."""

from typing import Any

import jax
import jax.numpy as jnp

from pgcli.arrays.shapes import Array, Key
from pgcli.envs.base import DeviceEnv
from pgcli.nn.policy import Agent, Policy, act, draw_noise
from pgcli.rollout.device_collector import begin, env_keys, step_all, where_rows
from pgcli.rollout.types import Transitions


def collect_episodes(
    env: DeviceEnv,
    policy: Policy,
    agent: Agent,
    key: Key[Array, ""],
    num_trajectories: int,
    limit: int,
) -> Transitions:
    """N complete trajectories under the agent. Consumes the key.

    Every trajectory runs to its own end, up to the time limit: stopping after a number
    of steps and dropping unfinished ones would prefer short episodes and bias the
    gradient. Rows after an end have weight 0; the loop ends once all have ended.
    """
    # new episodes in all N environments, and the noise of all their actions
    begin_key, noise_key, run_key = jax.random.split(key, 3)
    first = begin(env, policy, begin_key, num_trajectories)
    noise = draw_noise(
        policy, agent, env.spec.obs, env_keys(noise_key, num_trajectories), limit
    )
    none = jnp.zeros(num_trajectories, bool)

    def noise_at(t: Any) -> Any:
        return jax.tree.map(lambda x: x[t], noise)

    # one row of all fields [N, …]; `over` marks trajectories that have ended
    def step(carry: Any, t: Array, noise: Any) -> tuple[Any, dict[str, Any]]:
        now, over = carry
        memory, dist = act(policy, agent, now.carry, now.obs, now.start)
        action = dist.sample(noise)
        step_key = jax.random.fold_in(run_key, t)
        state, outcome = step_all(env, step_key, now.state, policy.squash(action))
        row = {
            "obs": now.obs,
            "action": action,
            "reward": jnp.where(over, 0.0, outcome.reward),
            "terminated": outcome.terminated & ~over,
            "truncated": outcome.truncated & ~over,
            "weight": (~over).astype(jnp.float32),
        }
        # ended environments keep their state: further steps might overflow
        kept = where_rows(over, (now.state, now.obs), (state, outcome.obs))
        after = now.replace(state=kept[0], obs=kept[1], start=none, carry=memory)
        return (after, over | outcome.terminated | outcome.truncated), row

    # a while loop instead of a scan, so that it can stop before the limit; it writes
    # into zeroed buffers [limit, N, …]
    def going(loop: Any) -> Any:
        (_, over), t, _ = loop
        return (t < limit) & ~jnp.all(over)

    def body(loop: Any) -> Any:
        carry, t, rows = loop
        carry, row = step(carry, t, noise_at(t))
        return carry, t + 1, jax.tree.map(lambda xs, x: xs.at[t].set(x), rows, row)

    start = (first, none)
    shapes = jax.eval_shape(lambda: step(start, jnp.int32(0), noise_at(0)))[1]
    empty = jax.tree.map(lambda x: jnp.zeros((limit, *x.shape), x.dtype), shapes)
    (last, _), _, rows = jax.lax.while_loop(going, body, (start, jnp.int32(0), empty))

    # no final observations: a trajectory is not continued by a value
    obs = rows.pop("obs")
    return Transitions(
        **rows,
        obs=jax.tree.map(lambda x, y: jnp.concatenate([x, y[None]]), obs, last.obs),
        start=jnp.zeros((limit + 1, num_trajectories), bool).at[0].set(True),
        final_obs=jax.tree.map(lambda x: x[:0], last.obs),
        final_index=jnp.zeros(0, jnp.int32),
        first_carry=first.carry,
    )
