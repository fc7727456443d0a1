"""Checks of what an environment's `reset` and `step` return, besides observations.

Nothing is converted silently: `"1.0"` is no number, and `[True]` no flag.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from pgcli.envs.failures import text_of
from pgcli.versions import FOUR_VALUES, UNKNOWN_ARGUMENT

NUMBERS = frozenset({float, int, bool, np.float32, np.float64, np.int64})
"""Common types of rewards, which need no check."""

FLAGS = frozenset({bool, np.bool_})

OLD_GYM = (
    "wrap it: an environment of Gym before 0.26 in `GymV21CompatibilityV0(env=…)` of "
    "the package shimmy; one of your own returns `obs, info` from "
    "`reset(self, *, seed=None, options=None)` and `obs, reward, terminated, "
    "truncated, info` from `step`"
)


class ContractError(Exception):
    """A value that breaks the contract of environments.

    Attributes:
      field: what was returned, such as `reward`.
      problem: the rest of the sentence, such as `is None, not a number`.
      help: the remedy.
    """

    def __init__(self, field: str, problem: str, help: str) -> None:
        super().__init__(f"the {field} {problem}")
        self.field, self.problem, self.help = field, problem, help


def outcome(
    reward: Any, terminated: Any, truncated: Any, info: Any
) -> tuple[float, bool, bool]:
    """The values of a step except its observation; a ContractError if one is wrong."""
    check_info(info)
    ended = flag("terminated", terminated), flag("truncated", truncated)
    return number(reward), *ended


def number(reward: Any) -> float:
    """A reward as a float, if it is one number."""
    array = _array(reward)
    if array.shape != () and array.dtype.kind in "fiub":
        help = (
            "return a float: `float(reward[0])`"
            if array.size == 1
            else "one number is needed: for several objectives, a wrapper that adds "
            "them with weights, such as mo_gymnasium.wrappers.LinearReward"
        )
        raise ContractError("reward", f"has the shape {array.shape}, not ()", help)
    if array.dtype.kind not in "fiub":
        problem = f"is {_shown(reward)}, not a number"
        raise ContractError("reward", problem, "return a float: `float(reward)`")
    return float(array)


def flag(name: str, value: Any) -> bool:
    """`terminated` or `truncated` as a bool, if it is one (or 0 or 1)."""
    array = _array(value)
    if array.shape != () or array.dtype.kind not in "biu" or array not in (0, 1):
        problem = f"is {_shown(value)}, not a bool"
        raise ContractError(f"flag `{name}`", problem, f"return `bool({name})`")
    return bool(array)


def check_info(info: Any) -> None:
    """Raises `ContractError` if `info` is no mapping."""
    if not isinstance(info, Mapping):
        problem = f"is {_shown(info)}, not a dict"
        raise ContractError(
            "info", problem, "return `{}` if there is nothing to report"
        )


def first(returned: Any) -> tuple[Any, Any]:
    """(obs, info), the result of a reset."""
    if not isinstance(returned, tuple) or len(returned) != 2:
        problem = "is not `obs, info`, but as in Gym before 0.26 the observation alone"
        raise ContractError("result of `reset`", problem, OLD_GYM)
    if returned[1].__class__ is not dict:
        check_info(returned[1])
    return returned


def old_gym(error: BaseException) -> BaseException:
    """The exception; a `ContractError` if the API of old Gym has caused it."""
    if not isinstance(error, TypeError | ValueError):
        return error
    text = text_of(error) or ""
    if FOUR_VALUES in text:
        problem = "has four values, as in Gym before 0.26, not five"
        return ContractError("result of `step`", problem, OLD_GYM)
    unknown = re.search(UNKNOWN_ARGUMENT + "'(seed|options)'", text)
    if unknown:
        problem = f"takes no `{unknown[1]}`, as in Gym before 0.26"
        return ContractError("method `reset`", problem, OLD_GYM)
    return error


def columns(field: str, values: Any, kinds: str, num_envs: int) -> np.ndarray:
    """Rewards or flags [N] of a vector environment."""
    array = _array(values)
    if array.shape != (num_envs,) or array.dtype.kind not in kinds:
        problem = f"has the shape {array.shape} and the dtype {array.dtype}"
        help = f"return one per environment: ({num_envs},)"
        raise ContractError(field, problem, help)
    return array


def _array(value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError:  # a list of arrays of several shapes
        return np.asarray(None)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}… ({type(value).__name__})"
