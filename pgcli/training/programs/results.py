"""Shapes of results as JSON, so that a program can be used without tracing it.

The types that a description names are those of this module: a file cannot name others.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from pgcli.algos.base import LearnerState
from pgcli.arrays import random_keys
from pgcli.nn.normalize import ObsStats, RewardScaler
from pgcli.nn.policy import Agent
from pgcli.rollout.device_collector import DeviceEnvState
from pgcli.training.evaluation.device import Played
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


def to_json(result: Any) -> Any:
    """A tree of shapes as JSON.

    Raises:
      TypeError: it has a node of another type.
    """
    kind = type(result)
    if result is None:
        return None
    if kind is dict:
        return {"dict": {name: to_json(x) for name, x in result.items()}}
    if kind is tuple:
        return {"tuple": [to_json(x) for x in result]}
    # by identity, since another class may have the same name
    if kind is TYPES.get(kind.__name__):
        names = getattr(result, "_fields", None) or result.__dataclass_fields__
        return {kind.__name__: {x: to_json(getattr(result, x)) for x in names}}
    if not hasattr(result, "dtype"):
        raise TypeError(f"results of type {kind.__name__} are not kept")
    return [str(result.dtype), *result.shape]


def from_json(described: Any) -> Any:
    """The tree of shapes that was described."""
    if described is None:
        return None
    if isinstance(described, list):
        dtype, *shape = described
        kind = random_keys.key(0).dtype if dtype == KEY else np.dtype(dtype)
        return jax.ShapeDtypeStruct(tuple(shape), kind)  # type: ignore[no-untyped-call]
    ((name, parts),) = described.items()
    if name == "tuple":
        return tuple(from_json(x) for x in parts)
    fields = {key: from_json(x) for key, x in parts.items()}
    return fields if name == "dict" else TYPES[name](**fields)


def is_key(x: Any) -> bool:
    """Whether an array has random keys."""
    return bool(jnp.issubdtype(x.dtype, jax.dtypes.prng_key))
