"""Comparison of a rollout with other environments that repeat its actions."""

from typing import Any

import jax
import numpy as np

from pgcli.envs.base import HostEnv
from pgcli.envs.obs_trees import rows
from pgcli.rollout.host_collector import empty_slot
from pgcli.rollout.types import Transitions


def difference_in_steps(env: HostEnv, seen: Transitions, limit: int) -> str | None:
    """The first difference from a rollout of steps, or None.

    Args:
      env: in the state of the rollout's first environments when it began.
      seen: the rollout, [T, N] with N ≥ `env.num_envs`; actions as the environments
        took them.
      limit: steps to compare at most.
    """
    # repeat the actions of the rollout: every field must agree byte for byte
    for t in range(min(limit, len(seen.reward))):
        slot = empty_slot(env)
        env.step(rows(seen.action, (t, slice(env.num_envs))), slot)
        differing = _differing(
            env.num_envs,
            observation=(rows(seen.obs, t + 1), slot.obs),
            start=(seen.start[t + 1], slot.start),
            reward=(seen.reward[t], slot.reward),
            terminated=(seen.terminated[t], slot.terminated),
            truncated=(seen.truncated[t], slot.truncated),
            weight=(seen.weight[t], slot.real.astype(np.float32)),
        )
        if differing is not None:
            return f"the {differing} of step {t}"
    return None


def difference_in_episodes(env: HostEnv, seen: Transitions, limit: int) -> str | None:
    """The first difference from the first of a rollout's whole episodes, or None.

    Args:
      env: in the state of the rollout's first environments when it began.
      seen: the rollout, [T, N·rounds] with N ≥ `env.num_envs`; such actions.
      limit: steps to compare at most.
    """
    count = env.num_envs
    slot = empty_slot(env)
    env.reset(slot.obs)
    for t in range(min(limit, len(seen.reward))):
        active = seen.weight[t, :count] > 0
        # observations of ended environments are undefined
        if not active.all():
            return None
        obs = slot.obs
        slot = empty_slot(env)
        env.step(rows(seen.action, (t, slice(count))), slot, active)
        differing = _differing(
            count,
            observation=(rows(seen.obs, t), obs),
            reward=(seen.reward[t], slot.reward),
            terminated=(seen.terminated[t], slot.terminated),
            truncated=(seen.truncated[t], slot.truncated),
        )
        if differing is not None:
            return f"the {differing} of step {t}"
    return None


def _differing(count: int, **pairs: tuple[Any, Any]) -> str | None:
    """The first field whose bytes differ in the first `count` environments."""
    for field, (recorded, replayed) in pairs.items():
        for expected, actual in zip(
            jax.tree.leaves(recorded), jax.tree.leaves(replayed), strict=True
        ):
            if expected[:count].tobytes() != actual.tobytes():
                return field
    return None
