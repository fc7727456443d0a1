"""Keys of traced programs: everything that can change one is part of its key."""

import functools
import hashlib
import os
from pathlib import Path
from typing import Any

import jax

from pgcli import versions
from pgcli.config.schema import RunConfig
from pgcli.envs.base import DeviceEnv
from pgcli.envs.device import functional
from pgcli.nn.own_networks import own_names


def description(config: RunConfig, env: DeviceEnv) -> tuple[Any, ...] | None:
    """The part of a configuration that shapes its programs; None if that is not all.

    Numbers that are arguments of the programs (`Knobs`) are not in it. Code outside of
    pgcli is no part of a key: there is none for environments of other packages and of
    users, nor for networks of users.
    """
    name = config.env.id.removeprefix("func:")
    if name not in functional.NAMES or own_names(config.network):
        return None
    if functional.make(name, config.env.kwargs, config.env.max_episode_steps) != env:
        return None  # another environment was passed
    return (
        config.algo.name,
        config.env,
        config.rollout,
        config.network,
        config.normalize,
        config.eval.episodes,
        env.spec,
    )


def program_key(
    name: str, described: tuple[Any, ...], arguments: tuple[Any, ...]
) -> str:
    """Key of a program, as a file name.

    Args:
      name: which program of a run.
      described: result of `description`.
      arguments: its arguments, of which the shapes and the structure count.
    """
    leaves, tree = jax.tree.flatten(arguments)
    shapes = [(str(aval), aval.weak_type) for aval in map(jax.typeof, leaves)]
    settings = sorted(jax.config.values.items())
    flags = os.environ.get("XLA_FLAGS")
    about = (sources(), versions.recorded(), jax.default_backend(), flags, settings)
    return _digest((name, described, str(tree), shapes, about))


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()


@functools.cache
def sources(package: Path = Path(versions.__file__).parent) -> str:
    """Digest of all modules of a package."""
    files = sorted(package.rglob("*.py"))
    return _digest([(str(f.relative_to(package)), f.read_bytes()) for f in files])
