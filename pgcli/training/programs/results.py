"""Shapes and shardings as JSON, so that a program can be used without tracing it.

The types that a description names are those of this module, and states of environments
of packages whose code is part of a key: a file cannot name others.
"""

import dataclasses
import sys
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pgcli.algos.base import LearnerState
from pgcli.arrays import random_keys
from pgcli.arrays.packing import Packed, pack
from pgcli.nn.normalize import ObsStats, RewardScaler
from pgcli.nn.policy import Agent
from pgcli.rollout.device_collector import DeviceEnvState
from pgcli.training.evaluation.device import Played
from pgcli.training.programs.key import PACKAGES
from pgcli.training.state import DeviceState, EpisodeTally, RunState
from pgcli.training.step import Report

TYPES = {
    kind.__name__: kind
    for kind in (
        Agent,
        DeviceEnvState,
        DeviceState,
        EpisodeTally,
        LearnerState,
        ObsStats,
        Played,
        Report,
        RewardScaler,
        RunState,
        optax.ScaleByAdamState,
    )
}
"""Dataclasses and named tuples in results; none has fields that are not arrays."""

KEY = "key<fry>"
"""Name of the dtype of random keys."""


def spec_of(sharding: Any) -> list[str | None]:
    """The axes of the mesh that split an array; [] on one device or on all.

    Raises:
      TypeError: it is split in another way.
    """
    if isinstance(sharding, NamedSharding):
        return list(sharding.spec)
    if sharding is None or sharding.is_fully_replicated:
        return []
    raise TypeError(f"arrays that are split by {sharding} are not kept")


def sharding_of(spec: Any, mesh: Mesh | None) -> NamedSharding | None:
    """The inverse of `spec_of`; None without a mesh."""
    if mesh is None:
        return None
    return NamedSharding(mesh, PartitionSpec(*spec))  # type: ignore[no-untyped-call]


def to_json(result: Any) -> Any:
    """A tree of `ShapeDtypeStruct`s as JSON.

    Raises:
      TypeError: it has a node of another type, or an array is split in another way than
        along axes of a mesh.
    """
    kind = type(result)
    if result is None:
        return None
    if kind is dict:
        return {"dict": {name: to_json(x) for name, x in result.items()}}
    if kind is tuple:
        return {"tuple": [to_json(x) for x in result]}
    if kind is Packed:
        return {"packed": to_json(result.shapes)}
    # by identity, since another class may have the same name
    for name in (kind.__name__, f"{kind.__module__}:{kind.__name__}"):
        if kind is _type(name):
            names = getattr(result, "_fields", None) or result.__dataclass_fields__
            return {name: {x: to_json(getattr(result, x)) for x in names}}
    if not hasattr(result, "dtype"):
        raise TypeError(f"results of type {kind.__name__} are not kept")
    spec = spec_of(result.sharding)
    return [str(result.dtype), bool(result.weak_type), spec, *result.shape]


def from_json(described: Any, mesh: Mesh | None = None) -> Any:
    """The tree of `ShapeDtypeStruct`s that was described, split along a mesh."""
    if described is None:
        return None
    if isinstance(described, list):
        dtype, weak, spec, *shape = described
        kind = random_keys.key(0).dtype if dtype == KEY else np.dtype(dtype)
        return jax.ShapeDtypeStruct(  # type: ignore[no-untyped-call]
            tuple(shape), kind, weak_type=weak, sharding=sharding_of(spec, mesh)
        )
    ((name, parts),) = described.items()
    if name == "tuple":
        return tuple(from_json(x, mesh) for x in parts)
    if name == "packed":
        return jax.eval_shape(pack, from_json(parts, mesh))
    fields = {key: from_json(x, mesh) for key, x in parts.items()}
    if name == "dict":
        return fields
    kind = _type(name)
    if kind is None:
        raise TypeError(f"no type of results is called {name}")
    return kind(**fields)


def _type(name: str) -> Any:
    """A type by its name, or by `module:name`; None if there is none."""
    module, _, attribute = name.rpartition(":")
    package = module.partition(".")[0]
    if package not in PACKAGES.values():
        return TYPES.get(name)
    kind = getattr(sys.modules.get(module), attribute, None)
    return kind if dataclasses.is_dataclass(kind) else None
