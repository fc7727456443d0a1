"""Checks of a rollout from the host: values that are not finite, or out of bounds."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from pgcli.envs.base import Box, HostEnv, ObsSpace, Space, where_is
from pgcli.envs.failures import NOT_FINITE_HELP
from pgcli.envs.obs_trees import all_finite, empty_obs
from pgcli.errors import EnvironmentFailed
from pgcli.rollout.bounds import outside

Finals = list[tuple[int, Any]]
"""(flat position t·N + n, last observation of an episode)."""


def check_finite(
    env: HostEnv,
    reward: np.ndarray,
    obs: Any,
    finals: Finals,
    *,
    first: int = 0,
    phase: str = "rollout",
) -> None:
    """Raises for the first value that is not finite, with field, environment and step.

    Args:
      env: the environments that returned the values.
      reward: [T, N].
      obs: [T, N, …] or [T + 1, N, …].
      finals: last observations.
      first: number of the first step in `phase`, which the error names.
      phase: `rollout` or `evaluation`.

    Raises:
      EnvironmentFailed: a value is not finite.
    """
    # quick, since it runs for every rollout
    if all(map(all_finite, (reward, obs, *(last for _, last in finals)))):
        return

    def failed(field: str, n: int, t: int) -> EnvironmentFailed:
        step = first + t
        when = f"at step {step} of the {phase}" if step >= 0 else "when it was reset"
        return EnvironmentFailed(
            f"the {field} of environment {n} is not finite {when}",
            where=where_is(env, n),
            help=NOT_FINITE_HELP,
        )

    # rewards [T, N], then observations, then final observations
    for t, n in np.argwhere(~np.isfinite(reward))[:1].tolist():
        raise failed("reward", n, t)
    for key, leaf in _floats(obs):
        for t, n in np.argwhere(~np.isfinite(leaf))[:1, :2].tolist():
            raise failed(f"observation{key}", n, t - 1)
    for key, leaf in _floats(_stacked(env.spec.obs, finals)):
        for (i,) in np.argwhere(~np.isfinite(leaf))[:1, :1].tolist():
            t, n = divmod(finals[i][0], reward.shape[1])
            raise failed(f"last observation{key}", n, t)


def check_bounds(
    space: ObsSpace,
    parts: Mapping[str, Box],
    obs: Any,
    weight: np.ndarray,
    finals: Finals,
) -> np.ndarray | None:
    """Observations outside of their bounds, as in `bounds.outside`; None without any.

    Args:
      space: the space of an observation.
      parts: the Boxes to look at, as `bounds.bounded` names them.
      obs: [T, N, …].
      weight: [T, N], 0 for observations to leave out.
      finals: last observations.
    """
    if not parts:
        return None
    last = _stacked(space, finals)
    # a quick look first, since few leave their space
    if not any(
        _is_outside(part, x[name] if name else x)
        for x in ((obs, last) if finals else (obs,))
        for name, part in parts.items()
    ):
        return None
    named, named_last = (x if isinstance(x, dict) else {"": x} for x in (obs, last))
    whole = {
        name: np.concatenate([x.reshape(-1, *x.shape[2:]), named_last[name]])
        for name, x in named.items()
    }
    weights = np.concatenate([weight.reshape(-1), np.ones(len(finals))])
    steps = max(int(weight.sum()), 1)
    found: np.ndarray = outside(space, whole.get("", whole), weights, steps, np)
    return found


def _is_outside(part: Box, x: np.ndarray) -> bool:
    low, high = part.bounds()
    return bool(((x < low) | (x > high)).any())


def _stacked(space: ObsSpace, finals: Finals) -> Any:
    """The last observations in the form of a batch [K, …]."""
    if not finals:
        return empty_obs(space, (0,))
    last = [obs for _, obs in finals]
    if isinstance(space, Space):
        return np.array(last)
    return {name: np.array([obs[name] for obs in last]) for name in space}


def _floats(obs: Any) -> list[tuple[str, np.ndarray]]:
    """The leaves that can hold NaN, with their paths."""
    leaves = jax.tree_util.tree_flatten_with_path(obs)[0]
    named = [(jax.tree_util.keystr(path), np.asarray(leaf)) for path, leaf in leaves]
    return [(name, leaf) for name, leaf in named if leaf.dtype.kind == "f"]
