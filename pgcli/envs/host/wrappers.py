"""Wrappers of a host environment: those of `env.wrappers`, and `NamedParts`.

`NamedParts` converts Tuples and nested Dicts to one Dict of plain spaces, the format
that networks support.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gymnasium
from gymnasium import spaces

from pgcli.config.env_wrappers import MINIGRID, WRAPPERS, parse
from pgcli.envs.failures import PASSED, in_words
from pgcli.envs.spaces import by_part
from pgcli.errors import UsageError
from pgcli.extras import pip_install


def wrap(env: Any, items: Sequence[Any], env_id: str) -> Any:
    """`env` in its wrappers, with observations of plain parts.

    Args:
      env: a Gymnasium environment.
      items: the wrappers, the innermost first, as in `env.wrappers`.
      env_id: its id in errors.

    Raises:
      UsageError: a wrapper does not fit the environment, or lacks its package.
    """
    for item in items:
        env = _wrapped(env, *parse(item), env_id)
    # nested parts have a `/` in their path, and parts of a Tuple are numbers
    space = env.observation_space
    compound = isinstance(space, spaces.Tuple | spaces.Dict)
    if compound and any("/" in path or path.isdigit() for path, _ in parts(space)):
        return NamedParts(env)
    return env


def _wrapped(env: Any, name: str, kwargs: Mapping[str, Any], env_id: str) -> Any:
    where = f"environment {env_id}"
    home = WRAPPERS[name].module
    try:
        cls = getattr(importlib.import_module(home), name)
    except ModuleNotFoundError:
        extra = pip_install("minigrid") if home == MINIGRID else None
        raise UsageError(
            f"env.wrappers: {name} needs a package that is not installed",
            where=where,
            help=extra,
        ) from None
    # YAML has lists where Gymnasium expects tuples
    kwargs = {k: tuple(v) if isinstance(v, list) else v for k, v in kwargs.items()}
    try:
        return cls(env, **kwargs)
    except gymnasium.error.DependencyNotInstalled as error:
        raise UsageError(f"env.wrappers: {name}: {error}", where=where) from None
    except PASSED:
        raise
    except BaseException as error:
        reason = str(error).strip() or in_words(error)
        given = ", ".join(f"{key}: {value}" for key, value in kwargs.items())
        raise UsageError(
            f"env.wrappers: {name} does not fit: {reason}",
            where=where,
            help=f"its observations are {env.observation_space}, its actions "
            f"{env.action_space}" + (f"; given were {given}" if given else ""),
        ) from None


def parts(space: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(name, plain space) of every part; `a/0` is the first part of the part `a`."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        named = space.items() if isinstance(space, spaces.Dict) else enumerate(space)
        for key, part in named:
            yield from parts(part, f"{path}/{key}" if path else str(key))
    else:
        yield path, space


class NamedParts(
    gymnasium.ObservationWrapper[Any, Any, Any],
    gymnasium.utils.RecordConstructorArgs,
):
    """The observation as one Dict of its plain parts, named by their paths."""

    def __init__(self, env: Any) -> None:
        """Wraps `env`."""
        gymnasium.utils.RecordConstructorArgs.__init__(self)
        gymnasium.ObservationWrapper.__init__(self, env)
        self.observation_space = spaces.Dict(dict(parts(env.observation_space)))

    def observation(self, observation: Any) -> dict[str, Any]:
        """The parts of one observation."""
        return by_part(observation)
