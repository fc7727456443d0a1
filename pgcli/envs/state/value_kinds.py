"""Classification of the values of an environment."""

import hashlib
import logging
import random
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

NAMES_IN_CHECKPOINTS: Mapping[str | None, str] = {
    "pgcli.envs.host.wrappers": "pgcli.envs.wrap",
    "pgcli.envs.host.atari": "pgcli.envs.atari",
}
"""Module of pgcli -> its name in checkpoints.

These modules have moved since the first checkpoints; the stored names stay the same.
"""

_RANDOM = (np.random.Generator, np.random.RandomState, random.Random)

_TABLE_ROWS, _TABLE_LEAVES = 32, (500, 500_000)


class _Ordinary:
    """A class whose size is that of an object with attributes only."""


def name_of(kind: type) -> str:
    """The full name of a class."""
    # some compiled classes have no module
    module = getattr(kind, "__module__", None)
    module = NAMES_IN_CHECKPOINTS.get(module, module)
    return f"{module}.{kind.__qualname__}" if module else kind.__qualname__


def is_ordinary(value: Any) -> bool:
    """Whether an object has no state except its attributes."""
    kind = type(value)
    return hasattr(value, "__dict__") and (
        kind.__basicsize__ <= _Ordinary.__basicsize__ and kind.__itemsize__ == 0
    )


def is_random(value: Any) -> bool:
    """Whether a value is a random number generator."""
    return type(value) in _RANDOM


def static_name(value: Any, levels: Mapping[int, int]) -> str | None:
    """The name of a function, class or module that does not change; None for others.

    A method belongs to the level that it is bound to.
    """
    # methods of the environment itself, and functions of compiled modules
    if isinstance(value, types.MethodType):
        level = levels.get(id(value.__self__))
        return None if level is None else f"{value.__qualname__} of level {level}"
    if isinstance(value, types.BuiltinFunctionType):
        owner = value.__self__
        if owner is not None and not isinstance(owner, types.ModuleType):
            return None
        return f"{value.__module__}.{value.__qualname__}"
    # everything else that has a global name
    if isinstance(value, type):
        return name_of(value)
    if isinstance(value, types.ModuleType | np.ufunc):
        return str(value.__name__)
    if isinstance(value, logging.Logger):
        return f"logger {value.name}"
    return f"dtype {value}" if isinstance(value, np.dtype) else None


def space_parts(space: Any) -> Iterator[Any]:
    """A Gymnasium space and all its parts, recursively."""
    yield space
    parts = getattr(space, "spaces", ())
    for part in parts.values() if isinstance(parts, Mapping) else parts:
        yield from space_parts(part)


def member_name(value: Any) -> str | None:
    """The name of a member of an enumeration, Python's own or a compiled one."""
    members = getattr(type(value), "__members__", None)
    # any other object's `name` may be a property that does work
    name = value.name if isinstance(members, Mapping) else None
    return name if members and name in members else None


def table_digest(value: Any) -> str | None:
    """SHA-256 of a large mapping of numbers and strings; None for anything else.

    Such tables, of transitions for example, are the same in every episode.
    """
    if type(value) is not dict or len(value) < _TABLE_ROWS:
        return None
    # depth first, without recursion; only numbers and strings as leaves
    rest: list[Any] = [value]
    leaves = 0
    while rest:
        item = rest.pop()
        kind = type(item)
        if kind is dict:
            rest += item.keys()
            rest += item.values()
        elif kind in (list, tuple):
            rest += item
        elif kind in (int, float, bool, str) or isinstance(item, np.generic):
            leaves += 1
        else:
            return None
        if leaves > _TABLE_LEAVES[1]:
            return None
    if leaves < _TABLE_LEAVES[0]:
        return None
    return hashlib.sha256(repr(value).encode()).hexdigest()


def is_space(value: Any) -> bool:
    """Whether a value is a Gymnasium space."""
    from gymnasium.spaces import Space

    # by type: `isinstance` asks the value for its class, too
    return issubclass(type(value), Space)
