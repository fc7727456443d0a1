"""Collection on the host: one small forward pass per step, written in place.

Noise for the whole rollout is drawn in advance; values, log-probabilities and
distributions are computed for the whole rollout afterwards, inside the update.
"""

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import jax
import numpy as np

from pgcli.arrays.fetch import fetch
from pgcli.arrays.jitted import Jit, plain_jit
from pgcli.arrays.shapes import Array, Key
from pgcli.arrays.shared import shared
from pgcli.envs.base import HostEnv, HostSlot, ObsSpace
from pgcli.envs.obs_trees import each_row, empty_obs, rows, set_rows, stacked
from pgcli.nn.policy import Agent, Carry, Policy, draw_noise
from pgcli.rollout.bounds import bounded
from pgcli.rollout.device_collector import env_keys
from pgcli.rollout.host_actor import Actor, JitActor
from pgcli.rollout.host_value_check import check_bounds, check_finite
from pgcli.rollout.types import Transitions

CollectorState = dict[str, Any]
"""State of a collector between two rollouts: arrays, or trees of them."""


def empty_slot(env: HostEnv) -> HostSlot:
    """New buffers for one step of the environments."""
    return _empty_slots(env, (), ())


def _empty_slots(
    env: HostEnv, steps: tuple[int, ...], rows: tuple[int, ...], lives: bool = False
) -> HostSlot:
    """New buffers [*steps, N, …]; those of `obs` and `start` are [*rows, N, …]."""
    shape, count = (*steps, env.num_envs), env.num_envs
    return HostSlot(
        empty_obs(env.spec.obs, (*rows, count)),
        np.zeros(shape, np.float32),
        np.zeros(shape, bool),
        np.zeros(shape, bool),
        np.zeros((*rows, count), bool),
        np.ones(shape, bool),
        np.zeros(shape, bool) if lives else None,
    )


def _slots(buffer: HostSlot) -> Iterator[HostSlot]:
    """Views for each step: row t, but row t + 1 of `obs` and `start`."""
    obs, start = each_row(buffer.obs), each_row(buffer.start)
    next(obs), next(start)
    lives = repeat(None) if buffer.life_lost is None else each_row(buffer.life_lost)
    flags = buffer.reward, buffer.terminated, buffer.truncated
    # `lives` may be endless
    steps = zip(obs, *flags, start, buffer.real, lives, strict=False)
    return map(HostSlot._make, steps)


def blank_state(env: HostEnv, policy: Policy) -> CollectorState:
    """A state of zeros with the shapes and dtypes of a `HostCollector`'s."""
    return {
        "obs": empty_obs(env.spec.obs, (env.num_envs,)),
        "start": np.zeros(env.num_envs, bool),
        "carry": policy.initial_carry(env.num_envs),
        "capacity": np.int32(0),
    }


def rollout_noise(
    policy: Policy, obs: ObsSpace, num_envs: int, num_steps: int
) -> Callable[[Array], Any]:
    """Function from a key, which it consumes, to the noise of a rollout [T, N, …]."""

    def noise(key: Array) -> Any:
        keys = env_keys(jax.random.split(key)[0], num_envs)
        return draw_noise(policy, None, obs, keys, num_steps)

    return noise


def _jit_noise(
    policy: Policy, obs: ObsSpace, num_envs: int, num_steps: int, jit: Jit
) -> Callable[[Array], Any]:
    noise = rollout_noise(policy, obs, num_envs, num_steps)
    jitted: Callable[..., Any] = jit(noise, f"noise of {num_envs} × {num_steps}")
    return jitted


class HostCollector:
    """Fills rollouts from host environments.

    Two buffers alternate: JAX may read a rollout's arrays after the call that received
    them has returned, so a buffer is written again only when the update after next
    begins.

    Attributes:
      outside: the last rollout's observations outside of their bounds (`bounds`).
      bounded: the Boxes whose bounds are watched; may be emptied.
    """

    outside: np.ndarray | None = None

    def __init__(
        self,
        env: HostEnv,
        policy: Policy,
        num_steps: int,
        actor: Actor | None = None,
        *,
        with_lives: bool = False,
        state: CollectorState | None = None,
        devices: int = 1,
        jit: Jit = plain_jit,
    ) -> None:
        """Begins an episode in every environment, or continues unfinished ones.

        Args:
          env: the environments.
          policy: the policy that acts; its noise is drawn.
          num_steps: T, steps per rollout.
          actor: computes the actions; None for compiled calls.
          with_lives: whether to record lost lives.
          state: state of a collector whose environments were in the same state.
          devices: number of devices that share the environments in learning.
          jit: compiles the program that draws the noise.
        """
        self._env, self._policy = env, policy
        self.bounded = bounded(env.spec.obs)
        self._num_steps = num_steps
        self._devices = devices
        # the last row of obs and start is the first of the next rollout
        self._buffers = [
            _empty_slots(env, (num_steps,), (num_steps + 1,), with_lives)
            for _ in range(2)
        ]
        self._turn = 0
        self._capacity = min(env.num_envs // devices, 8)
        self._carry: Carry = policy.initial_carry(env.num_envs)
        self._noise = shared(
            _jit_noise, policy, env.spec.obs, env.num_envs, num_steps, jit
        )
        self._actor = actor or JitActor(policy)
        # collection starts from the last row of the buffer that precedes the first
        first = self._buffers[1]
        if state is None:
            env.reset(rows(first.obs, num_steps))
            first.start[num_steps] = True
        else:
            set_rows(first.obs, num_steps, state["obs"])
            first.start[num_steps] = state["start"]
            self._carry = state["carry"]
            self._capacity = int(state["capacity"])

    def get_state(self) -> CollectorState:
        """Start of the next rollout, and capacity for its final observations."""
        last = self._buffers[1 - self._turn]
        return {
            "obs": jax.tree.map(np.copy, rows(last.obs, self._num_steps)),
            "start": last.start[self._num_steps].copy(),
            "carry": self._carry,
            "capacity": np.int32(self._capacity),
        }

    def collect(
        self, agent: Agent, key: Key[Array, ""] | None, noise: Any = None
    ) -> Transitions:
        """T steps of every environment under the agent. Consumes the key.

        Without a key, `noise` [T, N, …] is used.

        Raises:
          EnvironmentFailed: an environment raised, or returned a non-finite value.
        """
        # row 0 is the last row of the other buffer
        last, buffer = self._buffers[1 - self._turn], self._buffers[self._turn]
        self._turn = 1 - self._turn
        set_rows(buffer.obs, 0, rows(last.obs, self._num_steps))
        buffer.start[0] = last.start[self._num_steps]
        buffer.real[:] = True
        # noise of the whole rollout [T, N, …] by one call
        if key is not None:
            noise = fetch(self._noise(key))
        self._actor.begin(agent)
        # in NumPy, since it is split over the devices of the update
        first_carry = fetch(self._carry)
        actions = []
        finals: list[tuple[int, Any]] = []
        obs, start = rows(buffer.obs, 0), buffer.start[0]
        for t, (slot, now) in enumerate(
            zip(_slots(buffer), each_row(noise), strict=True)
        ):
            self._carry, action = self._actor.step(self._carry, obs, start, now)
            actions.append(action)
            for n, last in self._env.step(self._policy.squash(action), slot):
                finals.append((t * self._env.num_envs + n, last))
            obs, start = slot.obs, slot.start
        # a value continues the episodes that were cut off
        is_cut = (buffer.truncated & ~buffer.terminated).reshape(-1)
        cut = [item for item in finals if is_cut[item[0]]]
        check_finite(self._env, buffer.reward, buffer.obs, cut)
        steps = buffer.reward.shape
        self.outside = check_bounds(
            self._env.spec.obs,
            self.bounded,
            rows(buffer.obs, slice(1, None)),
            np.ones(steps),
            finals,
        )
        final_obs, final_index = self._gather(cut)
        return Transitions(
            obs=buffer.obs,
            action=stacked(actions),
            reward=buffer.reward,
            terminated=buffer.terminated,
            truncated=buffer.truncated,
            start=buffer.start,
            weight=buffer.real.astype(np.float32),
            final_obs=final_obs,
            final_index=final_index,
            first_carry=first_carry,
            life_lost=buffer.life_lost,
        )

    def _gather(self, finals: list[tuple[int, Any]]) -> tuple[Any, np.ndarray]:
        """Final observations, and their flat positions, in a buffer of fixed capacity.

        The capacity doubles until all fit, so that few programs compile. Each device
        has an equal part, for its own environments, numbered from 0.
        """
        # flat positions t·N + n, by device, with n counted from its first environment
        num_envs = self._env.num_envs // self._devices
        size = self._num_steps * num_envs
        parts: list[list[tuple[int, Any]]] = [[] for _ in range(self._devices)]
        for position, final in finals:
            t, n = divmod(position, self._env.num_envs)
            device, local = divmod(n, num_envs)
            parts[device].append((t * num_envs + local, final))
        # [devices · C, *obs]; unused slots hold position T·N/devices
        while self._capacity < max(map(len, parts)):
            self._capacity = min(2 * self._capacity, size)
        obs = empty_obs(self._env.spec.obs, (self._devices * self._capacity,))
        index = np.full(self._devices * self._capacity, size, np.int32)
        for device, part in enumerate(parts):
            for i, (position, final) in enumerate(part, device * self._capacity):
                index[i] = position
                set_rows(obs, i, final)
        return obs, index
