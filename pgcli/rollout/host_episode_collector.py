"""Collection of whole episodes on the host: one trajectory per column."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from pgcli.arrays.jitted import Jit, plain_jit
from pgcli.arrays.shapes import Array, Key
from pgcli.arrays.shared import shared
from pgcli.envs.base import HostEnv, ObsSpace
from pgcli.envs.obs_trees import empty_obs, rows
from pgcli.nn.policy import Agent, Policy, draw_noise
from pgcli.rollout.bounds import bounded
from pgcli.rollout.device_collector import env_keys
from pgcli.rollout.host_actor import Actor, JitActor
from pgcli.rollout.host_collector import CollectorState, empty_slot
from pgcli.rollout.host_value_check import Finals, check_bounds, check_finite
from pgcli.rollout.types import Transitions


class _Row(NamedTuple):
    """One step of every environment."""

    obs: Any
    action: Any
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    active: np.ndarray


def _jit_noise(
    policy: Policy, obs: ObsSpace, columns: int, limit: int, jit: Jit
) -> Callable[[Array], Array]:
    """The jitted noise of a rollout [T, N, …]."""

    def noise(key: Array) -> Any:
        return draw_noise(policy, None, obs, env_keys(key, columns), limit)

    jitted: Callable[..., Array] = jit(noise, f"noise of {columns} × {limit}")
    return jitted


class EpisodeCollector:
    """Complete trajectories from host environments.

    Attributes:
      outside, bounded: as in `HostCollector`.
    """

    outside: np.ndarray | None = None

    def __init__(
        self,
        env: HostEnv,
        policy: Policy,
        rounds: int,
        limit: int,
        actor: Actor | None = None,
        jit: Jit = plain_jit,
    ) -> None:
        """Prepares collection; environments are first reset by `collect`.

        Args:
          env: the environments.
          policy: the policy that acts; its noise is drawn.
          rounds: number of episodes of each environment per rollout.
          limit: number of steps after which every episode has ended.
          actor: computes the actions; None for compiled calls.
          jit: compiles the program that draws the noise.
        """
        self._env = env
        self.bounded = bounded(env.spec.obs)
        self._policy = policy
        self._rounds = rounds
        self._limit = limit
        columns = env.num_envs * rounds
        self._noise = shared(_jit_noise, policy, env.spec.obs, columns, limit, jit)
        self._actor = actor or JitActor(policy)

    def get_state(self) -> CollectorState:
        """An empty state: every rollout begins with new episodes."""
        return {}

    def collect(self, agent: Agent, key: Key[Any, ""]) -> Transitions:
        """`rounds` whole episodes of every environment. Consumes the key.

        Every episode runs to its own end. T is padded to a power of two with rows of
        weight 0, so that few programs compile.

        Raises:
          EnvironmentFailed: an environment raised, or returned a non-finite value.
        """
        num_envs = self._env.num_envs
        noise = jax.tree.map(np.asarray, self._noise(key))
        self._actor.begin(agent)

        # one list of rows [N, …] per round; its length is that of the longest episode
        finals: Finals = []
        columns = [
            self._round(noise, first, finals)
            for first in range(0, num_envs * self._rounds, num_envs)
        ]
        longest = max(map(len, columns))
        length = min(1 << (longest - 1).bit_length(), self._limit)

        # [T, N·rounds, …]: rounds joined along N and padded at the end
        def stack(*rows: np.ndarray) -> np.ndarray:
            padding = [np.zeros_like(rows[0])] * (length - len(rows))
            return np.stack([*rows, *padding])

        rounds = [jax.tree.map(stack, *column) for column in columns]
        whole = jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *rounds)
        start = np.zeros((length + 1, num_envs * self._rounds), bool)
        start[0] = True
        check_finite(self._env, whole.reward, whole.obs, [])
        self.outside = check_bounds(
            self._env.spec.obs,
            self.bounded,
            whole.obs,
            whole.active.astype(np.float32),
            finals,
        )
        # no final observations: a trajectory is not continued by a value
        return Transitions(
            obs=jax.tree.map(lambda x: np.concatenate([x, x[-1:]]), whole.obs),
            action=whole.action,
            reward=whole.reward,
            terminated=whole.terminated,
            truncated=whole.truncated,
            start=start,
            weight=whole.active.astype(np.float32),
            final_obs=empty_obs(self._env.spec.obs, (0,)),
            final_index=np.zeros(0, np.int32),
            first_carry=self._policy.initial_carry(num_envs * self._rounds),
        )

    def _round(self, noise: Any, first: int, finals: Finals) -> list[_Row]:
        """One episode of every environment; those that ended are not stepped.

        Args:
          noise: [T, N·rounds].
          first: column of the first of these episodes.
          finals: receives their last observations.
        """
        num_envs = self._env.num_envs
        noise = rows(noise, (slice(None), slice(first, first + num_envs)))
        obs = empty_obs(self._env.spec.obs, (num_envs,))
        self._env.reset(obs)
        active, start = np.ones(num_envs, bool), np.ones(num_envs, bool)
        carry = self._policy.initial_carry(num_envs)
        column: list[_Row] = []
        while active.any() and len(column) < self._limit:
            now = rows(noise, len(column))
            carry, action = self._actor.step(carry, obs, start, now)
            # environments that have ended keep their last observation
            slot = empty_slot(self._env)._replace(obs=jax.tree.map(np.copy, obs))
            self._env.step(self._policy.squash(action), slot, active)
            terminated, truncated = slot.terminated & active, slot.truncated & active
            reward = np.where(active, slot.reward, np.float32(0))
            for n in np.flatnonzero(terminated | truncated).tolist():
                position = len(column) * num_envs * self._rounds + first + n
                finals.append((position, rows(slot.obs, n)))
            column.append(_Row(obs, action, reward, terminated, truncated, active))
            active = active & ~(terminated | truncated)
            obs, start = slot.obs, np.zeros(num_envs, bool)
        return column
