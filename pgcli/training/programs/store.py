"""Programs that an earlier process has traced, in the cache directory.

They are StableHLO, serialised by `jax.export`; JAX compiles them, or finds them in its
cache of compiled programs. A file that is damaged is only a slower start.
"""

import contextlib
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import optax

from pgcli.algos.base import LearnerState
from pgcli.arrays.device_mesh import on_cpu
from pgcli.cache import cache_directory
from pgcli.nn.normalize import ObsStats, RewardScaler
from pgcli.nn.policy import Agent
from pgcli.rollout.device_collector import DeviceEnvState
from pgcli.storage.files import replace_bytes
from pgcli.training.evaluation.device import Played
from pgcli.training.programs.key import program_key
from pgcli.training.state import DeviceState, EpisodeTally, RunState
from pgcli.training.step import Report

MAX_FILES = 256
"""Number of programs that are kept, of 20 to 100 KB each."""

NODES = (
    Agent,
    DeviceEnvState,
    DeviceState,
    EpisodeTally,
    LearnerState,
    ObsStats,
    RewardScaler,
    RunState,
)
TUPLES = (Played, Report, optax.ScaleByAdamState)
"""Types in results of programs. None of them has fields that are not arrays."""


def kept(
    function: Callable[..., Any],
    name: str,
    described: tuple[Any, ...] | None,
    **options: Any,
) -> Callable[..., Any]:
    """`jax.jit(function, **options)`, traced by the first process that calls it.

    Args:
      function: the function.
      name: which program of a run.
      described: what shapes the program besides its arguments (`key.description`);
        None to trace in every process.
      options: arguments of `jax.jit`.
    """
    plain = jax.jit(function, **options)
    if described is None or not on_cpu():
        return plain
    directory = _directory()
    if directory is None:
        return plain
    made: dict[Any, Callable[..., Any]] = {}

    def call(*arguments: Any) -> Any:
        leaves, tree = jax.tree.flatten(arguments)
        shapes = tree, *map(jax.typeof, leaves)
        if shapes not in made:
            path = directory / program_key(name, described, arguments)
            program = _exported(function, path, arguments)
            made[shapes] = plain if program is None else jax.jit(program, **options)
        return made[shapes](*arguments)

    return call


def _directory() -> Path | None:
    """Directory of the programs; None if it cannot be used."""
    cache = cache_directory()
    if cache is None:
        return None
    try:
        (cache / "traced").mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return cache / "traced"


def _exported(
    function: Callable[..., Any], path: Path, arguments: tuple[Any, ...]
) -> Callable[..., Any] | None:
    """The function as an exported program, from the file or from tracing.

    None if JAX cannot export it, or its result has another type of node.
    """
    from jax import export

    _register()
    leaves, tree = jax.tree.flatten(arguments)

    def flat(*leaves: Any) -> Any:
        return function(*jax.tree.unflatten(tree, leaves))

    data = _read(path)
    if data is None:
        try:
            data = bytes(export.export(jax.jit(flat))(*leaves).serialize())
        except (ValueError, NotImplementedError, ImportError):
            return None
        _write(path, data)
    program = export.deserialize(bytearray(data))
    replayed: Callable[..., Any] = program.call
    return lambda *arguments: replayed(*jax.tree.leaves(arguments))


def _read(path: Path) -> bytes | None:
    """The content of a file, without its digest; None if it is missing or damaged."""
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    digest, data = stored[:32], stored[32:]
    return data if hashlib.sha256(data).digest() == digest else None


def _write(path: Path, data: bytes) -> None:
    """Keeps a program behind its digest, and removes the oldest of too many."""
    with contextlib.suppress(OSError):
        replace_bytes(path, hashlib.sha256(data).digest() + data)
        files = sorted(path.parent.iterdir(), key=lambda file: file.stat().st_mtime)
        for file in files[:-MAX_FILES]:
            file.unlink(missing_ok=True)


@functools.cache
def _register() -> None:
    """Tells JAX how to write the types of nodes."""
    from jax import export

    for node in NODES:
        export.register_pytree_node_serialization(
            node,
            serialized_name=f"pgcli.{node.__name__}",
            serialize_auxdata=lambda _: b"",
            deserialize_auxdata=lambda _: None,
            from_children=lambda _, children, node=node: node(*children),
        )
    for each in TUPLES:
        export.register_namedtuple_serialization(
            each, serialized_name=f"pgcli.{each.__name__}"
        )
