"""Wrappers of a host environment: those of `env.wrappers`, and pgcli's own.

`NamedParts` converts Tuples and nested Dicts to one Dict of plain spaces, the format
that networks support. `RawRewards` and `RawReturns` measure returns beneath the
wrappers of the configuration.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces

from pgcli.config.env_wrappers import MINIGRID, WRAPPERS, is_own, parse
from pgcli.config.schema import NO_MASK
from pgcli.envs import user_modules
from pgcli.envs.failures import PASSED, in_words
from pgcli.envs.host.action_masks import masked
from pgcli.envs.obs_parts import chosen_parts
from pgcli.envs.spaces import by_part, parts
from pgcli.errors import UsageError
from pgcli.extras import pip_install
from pgcli.suggest import did_you_mean


def wrap(env: Any, items: Sequence[Any], env_id: str) -> Any:
    """`env` in the wrappers of `env.wrappers`; a UsageError if one does not fit."""
    for item in items:
        env = _wrapped(env, *parse(item), env_id)
    return env


def with_parts(
    env: Any, env_id: str, obs_keys: Sequence[str] | None = None, mask: str = NO_MASK
) -> Any:
    """`env` with observations of plain parts, one of which is the action mask.

    `obs_keys` are the parts to keep besides the mask, as `chosen_parts` and `masked`
    accept them.
    """
    env, key = masked(env, mask, env_id)
    # nested parts have a `/` in their path, and parts of a Tuple are numbers
    space = env.observation_space
    compound = isinstance(space, spaces.Tuple | spaces.Dict)
    names = [path for path, _ in parts(space)] if compound else []
    if obs_keys is not None:
        kept = chosen_parts(names, obs_keys, env_id)
        return NamedParts(env, kept if key in (None, *kept) else [*kept, str(key)])
    if any("/" in name or name.isdigit() for name in names):
        return NamedParts(env)
    return env


def _wrapped(env: Any, name: str, kwargs: Mapping[str, Any], env_id: str) -> Any:
    where = f"environment {env_id}"
    make = _own(name, where) if is_own(name) else _known(name, where)
    # YAML has lists where Gymnasium expects tuples
    kwargs = {k: tuple(v) if isinstance(v, list) else v for k, v in kwargs.items()}
    try:
        wrapped = make(env, **kwargs)
        if not isinstance(wrapped, gymnasium.Env):
            raise TypeError(f"it returns {wrapped!r}, which is no gymnasium.Env")
        return wrapped
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


def _known(name: str, where: str) -> Any:
    """A class of `gymnasium.wrappers` or `minigrid.wrappers`."""
    home = WRAPPERS[name].module
    try:
        return getattr(importlib.import_module(home), name)
    except ModuleNotFoundError:
        extra = pip_install("minigrid") if home == MINIGRID else None
        raise UsageError(
            f"env.wrappers: {name} needs a package that is not installed",
            where=where,
            help=extra,
        ) from None


def _own(name: str, where: str) -> Any:
    """A class or function of a module that the command line names."""
    module, attribute = user_modules.split(name, "env.wrappers: ")
    home = user_modules.named()[str(module)]
    if not callable(getattr(home, attribute, None)):
        names = [key for key, value in vars(home).items() if isinstance(value, type)]
        raise UsageError(
            f"env.wrappers: `{module}` has no wrapper `{attribute}`",
            where=where,
            help=did_you_mean(attribute, names, f"it is looked up in {home.__file__}"),
        )
    return getattr(home, attribute)


class NamedParts(
    gymnasium.ObservationWrapper[Any, Any, Any], gymnasium.utils.RecordConstructorArgs
):
    """The observation as one Dict of its plain parts, named by their paths."""

    def __init__(self, env: Any, names: Sequence[str] | None = None) -> None:
        """Wraps `env`; `names` are the parts to keep, None for all."""
        # no attribute that older checkpoints of its state lack
        arguments: dict[str, Any] = {} if names is None else {"names": names}
        gymnasium.utils.RecordConstructorArgs.__init__(self, **arguments)
        gymnasium.ObservationWrapper.__init__(self, env)
        known = dict(parts(env.observation_space))
        self.observation_space = spaces.Dict({n: known[n] for n in names or known})

    def observation(self, observation: Any) -> dict[str, Any]:
        """The parts of one observation."""
        found, space = by_part(observation), cast(spaces.Dict, self.observation_space)
        return {name: found[name] for name in space}


class RawRewards(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Adds up the rewards beneath the wrappers around it."""

    total = 0.0

    def step(self, action: Any) -> Any:
        """One step, unchanged."""
        result = self.env.step(action)
        # in float32, as in the buffers whose rewards are added up to returns
        self.total += float(np.float32(result[1]))
        return result


class RawReturns(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Lists the return beneath the wrappers of every episode that a reset ended.

    Rewards during a reset are left out, as above the wrappers.
    """

    def __init__(self, env: Any, rewards: RawRewards) -> None:
        super().__init__(env)
        self._rewards = rewards
        self.pgcli_raw_returns: list[float] = []

    def reset(self, **options: Any) -> Any:
        """The first observation of another episode."""
        self.pgcli_raw_returns.append(self._rewards.total)
        result = self.env.reset(**options)
        self._rewards.total = 0.0
        return result
