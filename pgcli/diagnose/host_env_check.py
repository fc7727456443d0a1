"""Checks of a host environment: Gymnasium's own checker, then random episodes.

Gymnasium's checker gets the environment without wrappers. The other checks step it with
its wrappers, as training does.
"""

import dataclasses
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.diagnose.random_episodes import (
    Finding,
    Seen,
    Wrong,
    check_obs,
    play,
    same,
    valid_actions,
)
from pgcli.diagnose.time_limit import watched
from pgcli.envs.base import EnvSpec, mask_key
from pgcli.envs.failures import PASSED, close_quietly, in_words, place
from pgcli.envs.host.env_factory import EnvFactory
from pgcli.envs.obs_trees import copy_obs
from pgcli.envs.spaces import from_gymnasium, make_spec
from pgcli.errors import EnvironmentFailed
from pgcli.rollout.bounds import BoundsWarning, outside

NUM_STEPS = 400
"""Number of steps that are checked."""

SHORT = 3
"""A short time limit, to check what happens after it."""

IGNORED_WARNINGS = (
    "This is probably too",  # bounds of ±∞, which most environments have
    "we recommend using a symmetric and normalized space",  # see `action_bounds`
)
"""Warnings of Gymnasium's checker that do not matter for training."""


class Speed(NamedTuple):
    """Time per call of one environment, in microseconds."""

    step: float
    reset: float

    def rounded(self) -> dict[str, float]:
        """The times and the rate, for a result."""
        return {
            "step_us": round(self.step, 2),
            "reset_us": round(self.reset, 2),
            "steps_per_second": round(1e6 / self.step),
        }


def spec_of(factory: EnvFactory) -> EnvSpec:
    """The spaces and the time limit of an environment.

    Raises:
      UsageError: the environment is unknown or not installed.
      EnvironmentFailed: it cannot be created, or no policy supports its spaces.
    """
    with closing(factory()) as env:
        limit = env.spec.max_episode_steps
        return make_spec(factory.id, env.observation_space, env.action_space, limit)


def check_host(factory: EnvFactory) -> list[Finding]:
    """Findings about a host environment that can be created (see `spec_of`)."""
    parts: list[tuple[str, Callable[[EnvFactory], Iterator[Finding]]]] = [
        ("Gymnasium's checker", _gymnasium),
        ("an episode", _episodes),
        ("seeding", _seeding),
        ("a time limit", _time_limit),
    ]
    findings: list[Finding] = []
    # every part runs, even if an earlier one reported an error
    for what, part in parts:
        try:
            findings += part(factory)
        except Wrong as wrong:
            findings.append(wrong.finding)
        except PASSED:
            raise
        except BaseException as error:
            message = f"{what}: {in_words(error)}"
            findings.append(Finding("error", message, f"raised at {place(error)}"))
    return findings


def _gymnasium(factory: EnvFactory) -> Iterator[Finding]:
    """Findings of `gymnasium.utils.env_checker.check_env`, without wrappers."""
    from gymnasium.utils.env_checker import check_env

    env = watched(factory().unwrapped, factory.id)
    reported: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            # a second environment, which is closed twice, is no part of training
            check_env(env, skip_render_check=True, skip_close_check=True)
        except PASSED:
            raise
        except BaseException as error:
            first = str(error).strip().partition("\n")[0] or type(error).__name__
            help = "see the documentation of gymnasium.Env"
            level: Literal["error", "warning"] = "error"
            if not isinstance(error, AssertionError):
                help = f"raised at {place(error)}"
                if mask_key(spec_of(factory).obs) is not None:
                    level, help = "warning", help + "; it ignores the action mask"
            yield Finding(level, f"Gymnasium's checker: {first}", help)
            return
        finally:
            close_quietly(env)
    # each warning once, without those that do not matter for training
    for warning in caught:
        text = _plain(str(warning.message))
        ignored = any(part in text for part in IGNORED_WARNINGS)
        if issubclass(warning.category, DeprecationWarning):
            continue
        if text in reported or ignored:
            continue
        reported.append(text)
        yield Finding("warning", f"Gymnasium's checker: {text}")
    if not reported:
        yield Finding("ok", "Gymnasium's checker reports no problems")


def _plain(text: str) -> str:
    """A warning of Gymnasium without colours and prefix."""
    for part in ("\x1b[33m", "\x1b[0m", "WARN: "):
        text = text.replace(part, "")
    return text.strip()


def _episodes(factory: EnvFactory) -> Iterator[Finding]:
    """Checks observations, rewards and ends of random episodes."""
    env = watched(factory(), factory.id)
    space = from_gymnasium(env.observation_space, factory.id)
    kept: list[tuple[Any, Any]] = []
    overwritten: list[int] = []

    # compares the previous observation with its copy: it must not change
    def check(what: str, obs: Any, step: int) -> None:
        check_obs(space, what, obs, step)
        if kept and not same(*kept[-1]):
            overwritten.append(step)
        kept[:] = [(obs, copy_obs(obs))]

    with closing(env):
        seen = play(env, 0, NUM_STEPS, check)
    ends = sum(each.ended for each in seen)
    obs = jax.tree.map(lambda *x: np.stack(x), *(each.obs for each in seen))
    found = outside(space, obs, np.ones(len(seen)), NUM_STEPS, np)
    for words in BoundsWarning(space).text(found, "the check"):
        yield Finding("warning", *words)
    yield Finding(
        "ok",
        f"{NUM_STEPS} random steps, {ends} episode ends: all observations fit their "
        "space, all rewards are finite",
    )
    if overwritten:
        yield Finding(
            "warning",
            f"step {overwritten[0]} overwrites the observation returned before it",
            "return a copy: other libraries may keep the array",
        )


def _seeding(factory: EnvFactory) -> Iterator[Finding]:
    """Checks that a seed determines the episodes, in new and in used environments."""
    # seed 1 in two new environments and in a used one; seed 2 for comparison
    first = watched(factory(), factory.id)
    try:
        second = watched(factory(), factory.id)
    except EnvironmentFailed as error:
        first.close()
        help = "train with env.num_envs=1; evaluation then uses a process of its own"
        yield Finding("warning", f"a second one in a process {error.message}", help)
        return
    with closing(first), closing(second):
        once, again = (play(env, 1, NUM_STEPS // 4) for env in (first, second))
        used, other = (play(first, seed, NUM_STEPS // 4) for seed in (1, 2))
    help = (
        "draw random numbers from `self.np_random` only, and call "
        "`super().reset(seed=seed)` first"
    )
    for runs, where in (
        ((once, again), "in two environments"),
        ((once, used), "after earlier episodes"),
    ):
        differing = _difference(*runs)
        if differing is not None:
            message = f"seed 1 gives different {differing} {where}"
            yield Finding("error", message, help)
            return
    yield Finding("ok", "the same seed gives the same observations and rewards")
    # different seeds should give different episodes
    if _difference(once, other) is None:
        yield Finding(
            "warning",
            "seeds 1 and 2 give the same episode for the same actions",
            "this is fine if the environment is deterministic",
        )


def _difference(a: list[Seen], b: list[Seen]) -> str | None:
    """The first difference between two sequences of calls, in words, or None."""
    for step, (one, two) in enumerate(zip(a, b, strict=False)):
        if not same(one.obs, two.obs):
            return f"observations (call {step})"
        if one.reward != two.reward or one.ended != two.ended:
            return f"rewards or ends (call {step})"
    return None if len(a) == len(b) else "episode lengths"


def _time_limit(factory: EnvFactory) -> Iterator[Finding]:
    """Checks for a time limit, and that episodes continue after a truncated one."""
    # several episodes that are truncated early: this must not raise
    env = watched(dataclasses.replace(factory, max_episode_steps=SHORT)(), factory.id)
    with closing(env):
        play(env, 3, 4 * SHORT)
    # the limit that applies in training
    limit = spec_of(factory).max_episode_steps
    if limit is None:
        algos = ALGORITHM_CONFIGS.items()
        need = [name for name, algo in algos if algo.collects == "episodes"]
        yield Finding(
            "warning",
            f"no time limit is known: {', '.join(need)} need one, and an episode that "
            "never ends cannot be evaluated",
            "register it with max_episode_steps=…, or set env.max_episode_steps",
        )
    else:
        yield Finding("ok", f"episodes are truncated after {limit} steps, then reset")


def measure_host(factory: EnvFactory, seconds: float) -> Speed:
    """Time of a step and of a reset: the shortest of several measurements."""
    with closing(factory()) as env:
        env.action_space.seed(0)
        choose = valid_actions(env, 0)
        env.reset(seed=0)
        step: list[float] = []
        reset: list[float] = []
        deadline = time.perf_counter() + seconds
        while not step or time.perf_counter() < deadline:
            # one round: a reset, random actions, and a reset after each end
            (obs, _), taken = _timed(env.reset)
            resets, steps = [taken], list[float]()
            for _ in range(64):
                (obs, _, *ends, _), taken = _timed(env.step, choose(obs))
                steps.append(taken)
                if any(ends):
                    (obs, _), taken = _timed(env.reset)
                    resets.append(taken)
            step.append(sum(steps) / len(steps))
            reset.append(sum(resets) / len(resets))
    return Speed(1e6 * min(step), 1e6 * min(reset))


def _timed(call: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    result = call(*arguments)
    return result, time.perf_counter() - start
