"""Evaluation on host environments: a fixed quota of episodes per environment."""

import zlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from pgcli.arrays.jitted import Jit, plain_jit
from pgcli.arrays.shapes import Array
from pgcli.arrays.shared import shared
from pgcli.envs.base import HostEnv, where_is
from pgcli.envs.obs_trees import all_finite, set_rows
from pgcli.nn.policy import Agent, Carry, Policy, act
from pgcli.rollout.device_collector import env_keys
from pgcli.rollout.host_collector import empty_slot
from pgcli.rollout.host_value_check import check_finite
from pgcli.training.evaluation.episodes import Episodes, not_finite
from pgcli.training.evaluation.host_bounds import Strays
from pgcli.training.stop_signals import EvaluationStopped, never

MAX_ENVS = 32


def eval_envs(episodes: int, at_most: int = MAX_ENVS) -> int:
    """Number of environments for the episodes: a divisor of them if one is near."""
    best = max(n for n in range(1, min(episodes, at_most) + 1) if episodes % n == 0)
    return best if best * 2 >= min(episodes, at_most) else min(episodes, at_most)


def quotas(episodes: int, num_envs: int) -> np.ndarray:
    """Number of episodes of each environment; the numbers differ by at most one."""
    return np.array([len(range(n, episodes, num_envs)) for n in range(num_envs)])


def _jit_act(
    policy: Policy, deterministic: bool, jit: Jit = plain_jit
) -> Callable[..., Any]:
    """The jitted step of a policy in N environments, its mode or sampled actions."""

    def step(
        agent: Agent, carry: Carry, obs: Any, start: Array, key: Array
    ) -> tuple[Carry, Any]:
        carry, dist = act(policy, agent, carry, obs, start)
        if deterministic:
            return carry, dist.mode()
        keys = env_keys(key, start.shape[0])
        noise = jax.vmap(lambda key: dist.noise(key, ()))(keys)
        return carry, dist.sample(noise)

    name = "evaluation" if deterministic else "evaluation by samples"
    jitted: Callable[..., Any] = jit(step, name)
    return jitted


class HostEvaluator:
    """A player of whole episodes with frozen statistics.

    Attributes:
      outside: observations of the last evaluation outside of their bounds, as from
        `bounds.merged`; found only with `watch_bounds`.
    """

    outside: np.ndarray | None = None
    watch_bounds = True

    def __init__(
        self, policy: Policy, deterministic: bool, jit: Jit = plain_jit
    ) -> None:
        self._policy = policy
        self._act = shared(_jit_act, policy, deterministic, jit)
        # modes do not depend on the key
        fold: Any = shared(jax.jit, jax.random.fold_in)
        self._key_of: Any = (lambda key, _: key) if deterministic else fold

    def play(
        self,
        env: HostEnv,
        agent: Agent,
        episodes: int,
        key: Array,
        stop: Callable[[int], bool] = never,
        obs: Any = None,
    ) -> Episodes:
        """Unscaled returns and lengths of all episodes.

        Every environment plays exactly its quota, regardless of the lengths: counting
        the first episodes to finish would favour short ones. Consumes the key, that of
        sampled actions. `stop` is called at every step with the number of episodes that
        have ended. `obs` follow a reset; without them, the environments are reset.

        Raises:
          DivergedError: an action is not finite.
          EnvironmentFailed: an environment raised an exception, or returned a value
            that is not finite.
          EvaluationStopped: `stop` returned True.
        """
        # running sums and results of each environment
        num_envs = env.num_envs
        quota = quotas(episodes, num_envs)
        returns: list[list[float]] = [[] for _ in range(num_envs)]
        lengths: list[list[int]] = [[] for _ in range(num_envs)]
        firsts: list[list[int]] = [[] for _ in range(num_envs)]
        total, length = np.zeros(num_envs), np.zeros(num_envs, int)
        played = np.zeros(num_envs, int)

        # two slots alternate: the current observations and the outcome of the step
        slots = [empty_slot(env) for _ in range(2)]
        if obs is None:
            env.reset(slots[0].obs)
        else:
            set_rows(slots[0].obs, ..., obs)
        before = jax.tree.map(np.zeros_like, slots[0].obs)
        _check_step(env, (before, slots[0].obs), np.zeros(num_envs), [], -1)
        slots[0].start[:] = True
        first = [_hash(slots[0].obs, n) for n in range(num_envs)]
        carry = self._policy.initial_carry(num_envs)
        step = done = 0
        strays = Strays(env.spec.obs, num_envs) if self.watch_bounds else None
        _take_raw_returns(env)  # of episodes that the reset has ended
        while (played < quota).any():
            if stop(done):
                raise EvaluationStopped
            # act and step in all N environments, also in those that are done
            now, after = slots[step % 2], slots[1 - step % 2]
            carry, action = self._act(
                agent, carry, now.obs, now.start, self._key_of(key, np.uint32(step))
            )
            after.real[:] = True
            action = jax.tree.map(np.asarray, action)
            # no environment receives an action that is not finite
            if not all_finite(action):
                leaves = jax.tree.leaves(action)
                bad = next(x for x in leaves if not all_finite(x))
                n = int(np.argwhere(~np.isfinite(bad))[0, 0])
                raise not_finite("action", n, step, where_is(env, n))
            finals = env.step(self._policy.squash(action), after)
            if strays is not None:
                strays.look(after.obs, finals)
            cut = [(n, obs) for n, obs in finals if not after.terminated[n]]
            _check_step(env, (now.obs, after.obs), after.reward, cut, step)

            # add up rewards; store the results of finished episodes within the quota
            total += np.where(after.real, after.reward, 0.0)
            length += after.real
            for n in map(int, np.flatnonzero(after.terminated | after.truncated)):
                if played[n] < quota[n]:
                    returns[n].append(float(total[n]))
                    lengths[n].append(int(length[n]))
                    firsts[n].append(first[n])
                    done += 1
                played[n] += 1
                total[n], length[n] = 0.0, 0
            for n in map(int, np.flatnonzero(after.start)):
                first[n] = _hash(after.obs, n)
            step += 1
        self.outside = None if strays is None else strays.found()
        return Episodes(
            np.array([x for row in returns for x in row]),
            np.array([x for row in lengths for x in row]),
            np.array([x for row in firsts for x in row]),
            _raw_returns(env, quota),
            np.repeat(np.arange(num_envs), quota),
        )


def _take_raw_returns(env: HostEnv) -> list[list[float]] | None:
    take = getattr(env, "take_raw_returns", None)
    taken: list[list[float]] | None = take and take()
    return taken


def _raw_returns(env: HostEnv, quota: np.ndarray) -> np.ndarray:
    """Returns beneath the wrappers: the first ones of each environment, or NaN."""
    taken = _take_raw_returns(env)
    if taken is None:
        return np.full(quota.sum(), np.nan)
    rows = zip(taken, quota, strict=True)
    return np.array([x for row, count in rows for x in row[:count]])


def _hash(obs: Any, n: int) -> int:
    value = 0
    for leaf in jax.tree.leaves(obs):
        value = zlib.crc32(leaf[n].tobytes(), value)
    return value


def _check_step(
    env: HostEnv,
    obs: tuple[Any, Any],
    reward: np.ndarray,
    finals: list[tuple[int, Any]],
    step: int,
) -> None:
    """Raises for a value of a step that is not finite; `obs` are those around it."""
    if not all(map(all_finite, (obs[1], reward, *(final for _, final in finals)))):
        rows = jax.tree.map(lambda *x: np.stack(x), *obs)
        check_finite(env, reward[None], rows, finals, first=step, phase="evaluation")
