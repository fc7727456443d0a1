"""Keys of compiled programs: everything that can change one is part of its key."""

import contextlib
import functools
import hashlib
import itertools
import os
import platform
import sys
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding

from pgcli import versions
from pgcli.config.schema import RunConfig
from pgcli.envs import registry, user_modules
from pgcli.envs.base import DeviceEnv, EnvSpec
from pgcli.envs.device import functional
from pgcli.nn.own_networks import own_names

CPU_INFO = Path("/proc/cpuinfo")
NAMED = ("model name", "flags", "CPU ", "Features")
"""Lines that name a processor and its instruction sets."""

PACKAGES = {"gymnax": "gymnax"}
"""Back ends whose code is a part of keys -> their package, which needs no others."""

DATA = {"MNISTBandit-bsuite"}
"""Environments with data from outside of their package."""

VARIABLES = ("XLA_FLAGS", "PJRT_NPROC")
"""Environment variables that XLA reads."""


def description(config: RunConfig, env: DeviceEnv) -> str | None:
    """The part of a configuration that shapes its programs; None if that is not all.

    Numbers that are arguments of the programs (`Knobs`) are not in it. It covers the
    code of the packages in `PACKAGES`, and no other code outside of pgcli: for other
    environments, and for networks of users, there is none.
    """
    learner, backend = learner_description(config, env.spec), config.env.backend
    package, name = PACKAGES.get(backend), config.env.id.partition(":")[2]
    if backend == "func":
        covered = name in functional.NAMES
    else:  # a module of the user may change a package
        covered = package is not None and not user_modules.NAMED and name not in DATA
    if learner is None or not covered:
        return None
    made = registry.DEVICE_BACKENDS[backend].make(
        name, config.env.kwargs, config.env.max_episode_steps
    )
    if made != env:
        return None  # another environment was passed
    code = package and sources(Path(str(sys.modules[package].__file__)).parent)
    return repr((learner, config.env, config.eval.episodes, code))


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
