"""Keys of compiled programs: everything that can change one is part of its key."""

import contextlib
import functools
import hashlib
import itertools
import os
import platform
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding

from pgcli import versions
from pgcli.config.schema import RunConfig
from pgcli.envs.base import DeviceEnv, EnvSpec
from pgcli.envs.device import functional
from pgcli.nn.own_networks import own_names

CPU_INFO = Path("/proc/cpuinfo")
NAMED = ("model name", "flags", "CPU ", "Features")
"""Lines that name a processor and its instruction sets."""

VARIABLES = ("XLA_FLAGS", "PJRT_NPROC")
"""Environment variables that XLA reads."""


def description(config: RunConfig, env: DeviceEnv) -> str | None:
    """The part of a configuration that shapes its programs; None if that is not all.

    Numbers that are arguments of the programs (`Knobs`) are not in it. Code outside of
    pgcli is no part of a key: there is none for environments of other packages and of
    users, nor for networks of users.
    """
    learner = learner_description(config, env.spec)
    name = config.env.id.removeprefix("func:")
    if name not in functional.NAMES or learner is None:
        return None
    if functional.make(name, config.env.kwargs, config.env.max_episode_steps) != env:
        return None  # another environment was passed
    return repr((learner, config.env, config.eval.episodes))


def learner_description(config: RunConfig, spec: EnvSpec) -> str | None:
    """`description` of the programs that learn and act, in any environment.

    They contain the spaces, but not the code of an environment.
    """
    if own_names(config.network):
        return None
    return repr(
        (
            config.algo.name,
            config.env.num_envs,
            config.rollout,
            config.network,
            config.normalize,
            spec,
        )
    )


def placed(mesh: Mesh | None) -> Any:
    """The devices of a mesh, in a key."""
    return mesh and (repr(mesh), [device.id for device in mesh.devices.flat])


def program_key(about: tuple[Any, ...], arguments: tuple[Any, ...]) -> str:
    """Key of a program, as a file name.

    Args:
      about: name, description (result of `description`) and options of the program.
      arguments: its arguments, of which the shapes and the structure count.
    """
    leaves, tree = jax.tree.flatten(arguments)
    # weak types are part of a program: they decide its promotions
    shapes = [(str(aval), aval.weak_type) for aval in map(jax.typeof, leaves)]
    specs = [_spec(getattr(leaf, "sharding", None)) for leaf in leaves]
    settings = sorted(jax.config.values.items())
    variables = [os.environ.get(name) for name in VARIABLES]
    here = (machine(), jax.default_backend(), variables, settings)
    what = (about, str(tree), shapes, specs)
    return _digest((what, sources(), versions.recorded(), here))


def _spec(sharding: Any) -> str | None:
    """How an argument is split along a mesh."""
    return repr(sharding.spec) if isinstance(sharding, NamedSharding) else None


@functools.cache
def machine() -> str:
    """The processor for which XLA compiles: its model and instruction sets."""
    with contextlib.suppress(OSError), CPU_INFO.open(encoding="utf-8") as lines:
        first = itertools.takewhile(str.strip, lines)  # of several equal cores
        return "".join(x for x in first if x.startswith(NAMED))
    return platform.processor() or platform.machine()


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()


@functools.cache
def sources(package: Path = Path(versions.__file__).parent) -> str:
    """Digest of all modules of a package."""
    files = sorted(package.rglob("*.py"))
    return _digest([(str(f.relative_to(package)), f.read_bytes()) for f in files])
