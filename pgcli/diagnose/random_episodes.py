"""Random episodes of a host environment, with a check of every call."""

import copy
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from pgcli.envs.obs_trees import copy_obs


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
      level: `ok`, `warning` (training works) or `error` (it would fail, or mislead).
      message: the result in words.
      help: what to do about it.
    """

    level: Literal["ok", "warning", "error"]
    message: str
    help: str | None = None


class Seen(NamedTuple):
    """The values returned by one call of an environment."""

    obs: Any
    reward: float
    ended: bool


class Wrong(Exception):  # noqa: N818 - becomes a finding
    """A finding of level `error` that ends its check."""

    def __init__(self, message: str, help: str) -> None:
        super().__init__(message)
        self.finding = Finding("error", message, help)


def play(
    env: Any, seed: int, num_steps: int, check: Callable[..., None] | None = None
) -> list[Seen]:
    """Steps with random actions, resetting when an episode ends.

    Args:
      env: the environment.
      seed: seed of the first reset and of the actions.
      num_steps: number of steps.
      check: called with (what, obs, step) for every observation.
    """
    # the seed determines the first reset and all actions, which are drawn from a copy:
    # a reset may make the spaces again
    env.action_space.seed(seed)
    actions = copy.deepcopy(env.action_space)
    obs, _ = env.reset(seed=seed)
    if check is not None:
        check("the first observation", obs, 0)
    seen = [Seen(copy_obs(obs), 0.0, False)]
    for step in range(1, num_steps + 1):
        obs, reward, terminated, truncated, _ = env.step(actions.sample())
        if check is not None:
            check("the observation", obs, step)
            _check_outcome(reward, terminated, truncated, step)
        # copied, since some environments reuse the array
        ended = bool(terminated or truncated)
        seen.append(Seen(copy_obs(obs), float(reward), ended))
        if ended:
            obs, _ = env.reset()
            if check is not None:
                check("the observation of a reset", obs, step)
            seen.append(Seen(copy_obs(obs), 0.0, False))
    return seen


def same(a: Any, b: Any) -> bool:
    """Whether two observations are equal, with NaN equal to NaN."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    return bool(np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f"))


def check_obs(space: Any, what: str, obs: Any, step: int) -> None:
    """Raises `Wrong` if an observation is not in its space."""
    from gymnasium import spaces

    when = f"{what} at step {step}" if step else what
    # a Dict is checked part by part
    if isinstance(space, spaces.Dict):
        if not isinstance(obs, dict) or obs.keys() != space.keys():
            actual = sorted(obs) if isinstance(obs, dict) else type(obs).__name__
            raise Wrong(
                f"{when} is {actual}, not a dict with {sorted(space)}",
                "return what observation_space declares",
            )
        for name, part in space.items():
            check_obs(part, f"`{name}` of {what}", obs[name], step)
        return
    # shape, then values: finite, of a dtype that fits, within the bounds
    array = np.asarray(obs)
    if array.shape != space.shape:
        raise Wrong(
            f"{when} has shape {list(array.shape)}, not {list(space.shape)}",
            "declare the returned shape in observation_space; it must be constant",
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise Wrong(
            f"{when} is not finite: {array.reshape(-1)[:8].tolist()}",
            "training stops at such a value: look for a division by 0 or an overflow",
        )
    if isinstance(space, spaces.Box):
        if not np.can_cast(array.dtype, np.dtype(space.dtype), "same_kind"):
            raise Wrong(
                f"{when} has dtype {array.dtype}, its space {space.dtype}",
                f"return it as {space.dtype}: `obs.astype(np.{space.dtype})`",
            )
        outside = (array < space.low) | (array > space.high)
        if outside.any():
            index = tuple(int(i) for i in np.argwhere(outside)[0])
            raise Wrong(
                f"{when} is outside its space: element {list(index)} is "
                f"{array[index]}, not in [{space.low[index]}, {space.high[index]}]",
                "widen observation_space, or clip the observation",
            )
    elif not space.contains(obs):
        raise Wrong(
            f"{when} is {obs!r}, which is not in {space}", "correct observation_space"
        )


def _check_outcome(reward: Any, terminated: Any, truncated: Any, step: int) -> None:
    """Raises `Wrong` if the reward or a flag of a step has the wrong type."""
    number = np.asarray(reward)
    if number.shape != () or number.dtype.kind not in "fiub":
        raise Wrong(
            f"the reward at step {step} is {reward!r}, not a number",
            "return a float: `float(reward)`",
        )
    if not np.isfinite(number):
        raise Wrong(
            f"the reward at step {step} is not finite: {reward}",
            "training stops at such a value: look for a division by 0 or an overflow",
        )
    for name, flag in (("terminated", terminated), ("truncated", truncated)):
        if not isinstance(flag, bool | np.bool_):
            raise Wrong(
                f"`{name}` at step {step} is {flag!r}, not a bool",
                f"return `bool({name})`",
            )
