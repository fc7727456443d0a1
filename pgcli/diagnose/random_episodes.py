"""Random episodes of a host environment, with a check of every call."""

import copy
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

from pgcli.envs.actions import host_action, random_action, row
from pgcli.envs.base import ObsSpace, mask_key, split_mask
from pgcli.envs.host import contract
from pgcli.envs.host.contract import ContractError
from pgcli.envs.host.obs_space_check import complaint
from pgcli.envs.obs_trees import copy_obs
from pgcli.envs.spaces import make_spec

NOT_FINITE = "training stops at such a value: look for a division by 0 or an overflow"


class Finding(NamedTuple):
    """The result of one check, in words, and what to do about it.

    Attributes:
      level: `ok`, `warning` (training works) or `error` (it would fail, or mislead).
    """

    level: Literal["ok", "warning", "error"]
    message: str
    help: str | None = None


class Seen(NamedTuple):
    """The values returned by one call of an environment."""

    obs: Any
    reward: float
    ended: bool
    step: int


class Wrong(Exception):  # noqa: N818 - becomes a finding
    """A finding of level `error` that ends its check."""

    def __init__(self, message: str, help: str) -> None:
        super().__init__(message)
        self.finding = Finding("error", message, help)


def play(
    env: Any, seed: int, num_steps: int, check: Callable[..., None] | None = None
) -> list[Seen]:
    """Steps with random actions, resetting when an episode ends.

    `check` gets (what, obs, step) of every observation.
    """
    # the seed determines the first reset and all actions
    env.action_space.seed(seed)
    seen = list[Seen]()
    try:
        seen.extend(_played(env, seed, num_steps, check))
    except Exception as error:
        cause = contract.old_gym(error)
        if not isinstance(cause, ContractError):
            raise
        when = f" at step {seen[-1].step + 1}" if seen else ""
        raise Wrong(f"the {cause.field}{when} {cause.problem}", cause.help) from error
    return seen


def _played(
    env: Any, seed: int, num_steps: int, check: Callable[..., None] | None
) -> Iterator[Seen]:
    # copied, since some environments reuse the array
    def seen(what: str, obs: Any, step: int, reward: float, ended: bool) -> Seen:
        if check is not None:
            check(what, obs, step)
            if not _is_finite(reward):
                message = f"the reward at step {step} is not finite: {reward}"
                raise Wrong(message, NOT_FINITE)
        return Seen(copy_obs(obs), reward, ended, step)

    # actions are drawn from a copy: a reset may make the spaces again
    actions = valid_actions(env, seed)
    obs, _ = contract.first(env.reset(seed=seed))
    yield seen("the first observation", obs, 0, 0.0, False)
    for step in range(1, num_steps + 1):
        obs, reward, terminated, truncated, info = env.step(actions(obs))
        reward, *flags = contract.outcome(reward, terminated, truncated, info)
        ended = any(flags)
        yield seen("the observation", obs, step, reward, ended)
        if ended:
            obs, _ = contract.first(env.reset())
            yield seen("the observation of a reset", obs, step, 0.0, False)


def valid_actions(env: Any, seed: int) -> Callable[[Any], Any]:
    """A function from observations to random actions, valid ones if there are masks."""
    spec = make_spec("", env.observation_space, env.action_space, None)
    if mask_key(spec.obs) is None:
        actions = copy.deepcopy(env.action_space)
        return lambda obs: actions.sample()
    random = np.random.default_rng(seed)

    def action(obs: Any) -> Any:
        mask = split_mask(spec.obs, obs)[1]
        drawn = random_action(spec.action, (1,), random, mask[None])
        return row(host_action(spec, drawn), 0)

    return action


def same(a: Any, b: Any) -> bool:
    """Whether two observations are equal, with NaN equal to NaN."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    return bool(np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f"))


def check_obs(space: ObsSpace, what: str, obs: Any, step: int) -> None:
    """Raises `Wrong` if training would refuse an observation."""
    when = f"{what} at step {step}" if step else what
    problem = complaint(space, obs)
    if problem is not None:
        raise Wrong(f"{when} {problem}", "return what observation_space declares")
    for name, part in obs.items() if isinstance(obs, dict) else [("", obs)]:
        if not _is_finite(part):
            shown = np.asarray(part).reshape(-1)[:8].tolist()
            of = f"`{name}` of " if name else ""
            raise Wrong(f"{of}{when} is not finite: {shown}", NOT_FINITE)


def _is_finite(value: Any) -> bool:
    """Whether a value is finite in float32, as it reaches the networks."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(np.asarray(value).astype(np.float32)).all())
