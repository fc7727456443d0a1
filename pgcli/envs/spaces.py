"""Gymnasium spaces as ours, and ours as JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from pgcli.envs.base import Bound, Box, Discrete, EnvSpec, ObsSpace, Space
from pgcli.errors import EnvironmentFailed


def _bound(values: np.ndarray) -> Bound:
    flat = [float(x) for x in values.reshape(-1)]
    return flat[0] if flat and len(set(flat)) == 1 else tuple(flat)


def from_gymnasium(space: Any, env_id: str) -> Any:
    """Our description of a Gymnasium space: Box, Discrete, or a Dict of them.

    Raises:
      EnvironmentFailed: a kind of space that pgcli has no policy for.
    """
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        dtype = "float32" if space.dtype == np.float64 else str(space.dtype)
        return Box(space.shape, dtype, _bound(space.low), _bound(space.high))
    if isinstance(space, spaces.Discrete):
        return Discrete(int(space.n), int(space.start))
    if isinstance(space, spaces.Dict):
        return {name: from_gymnasium(part, env_id) for name, part in space.items()}
    raise EnvironmentFailed(
        f"spaces of type {type(space).__name__} are not supported",
        where=f"environment {env_id}",
        help="Box, Discrete and Dict spaces are; wrap the environment to one of them",
    )


def _space_to_json(space: Space) -> dict[str, Any]:
    def bound(value: Any) -> Any:
        return [str(x) for x in value] if isinstance(value, tuple) else str(value)

    data = {"type": type(space).__name__, **asdict(space)}
    # as text: JSON has no infinity
    return data | {key: bound(data[key]) for key in ("low", "high") if key in data}


def _space_from_json(data: Mapping[str, Any]) -> Space:
    def bound(value: Any) -> Bound:
        if isinstance(value, list):
            return tuple(float(x) for x in value)
        return float(value)

    if data["type"] == "Discrete":
        return Discrete(data["n"], data["start"])
    return Box(
        tuple(data["shape"]), data["dtype"], bound(data["low"]), bound(data["high"])
    )


def spec_to_json(spec: EnvSpec) -> dict[str, Any]:
    """The specification as plain data."""
    obs = (
        _space_to_json(spec.obs)
        if isinstance(spec.obs, Space)
        else {
            "type": "Dict",
            "spaces": {name: _space_to_json(part) for name, part in spec.obs.items()},
        }
    )
    return {
        "id": spec.id,
        "obs": obs,
        "action": _space_to_json(spec.action),
        "max_episode_steps": spec.max_episode_steps,
    }


def spec_from_json(data: Mapping[str, Any]) -> EnvSpec:
    """The inverse of `spec_to_json`."""
    obs = data["obs"]
    parsed: ObsSpace = (
        {name: _space_from_json(part) for name, part in obs["spaces"].items()}
        if obs["type"] == "Dict"
        else _space_from_json(obs)
    )
    return EnvSpec(
        data["id"], parsed, _space_from_json(data["action"]), data["max_episode_steps"]
    )
