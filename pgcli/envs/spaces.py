"""Conversion of Gymnasium spaces to ours, and of ours to and from JSON."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from pgcli.envs.actions import assemble, structure_of
from pgcli.envs.base import (
    ActionMask,
    Bound,
    Box,
    Discrete,
    EnvSpec,
    MultiBinary,
    MultiDiscrete,
    ObsSpace,
    Space,
)
from pgcli.errors import EnvironmentFailed


def narrowed(dtype: Any) -> str:
    """The dtype of a Box in our arrays: float32 as in the networks, or that of bytes.

    No value of a wider type wraps around when it is converted to float32.
    """
    return str(dtype) if np.dtype(dtype).itemsize == 1 else "float32"


def _bound(values: np.ndarray) -> Bound:
    flat = [float(x) for x in values.reshape(-1)]
    return flat[0] if flat and len(set(flat)) == 1 else tuple(flat)


def _inside(bound: np.ndarray, dtype: str, towards: float) -> np.ndarray:
    """A bound in our dtype; as a float, rounded towards the inside of the space."""
    if not dtype.startswith("float"):
        return bound
    # nearest value first; the next one inwards if that lies outside
    rounded = bound.astype(dtype)
    outside = rounded > bound if towards < 0 else rounded < bound
    return np.where(
        outside, np.nextafter(rounded, rounded.dtype.type(towards)), rounded
    )


def make_spec(env_id: str, obs: Any, action: Any, limit: int | None) -> EnvSpec:
    """The specification of an environment with these Gymnasium spaces.

    Raises an EnvironmentFailed if no policy supports a space.
    """
    obs_space, own = from_gymnasium(obs, env_id), dict(parts(action))
    if not own:
        raise unsupported(action, env_id)
    actions = {
        name: _plain(x, env_id, name or None, is_action=True) for name, x in own.items()
    }
    dtypes = {name: str(part.dtype) for name, part in own.items()}
    if "" in own:
        return EnvSpec(env_id, obs_space, actions[""], limit, dtypes[""])
    return EnvSpec(env_id, obs_space, actions, limit, dtypes, structure_of(action))


def from_gymnasium(space: Any, env_id: str) -> Any:
    """Our description of a Gymnasium space: a plain one, or a Dict of plain ones.

    Raises an EnvironmentFailed if no policy supports it.
    """
    from gymnasium import spaces

    if isinstance(space, spaces.Dict):
        plain = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
        usable = [name for name, part in space.items() if isinstance(part, plain)]
        return {
            name: _plain(part, env_id, name, usable) for name, part in space.items()
        }
    return _plain(space, env_id)


def _plain(
    space: Any,
    env_id: str,
    part: str | None = None,
    usable: Sequence[str] = (),
    *,
    is_action: bool = False,
) -> Space:
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        dtype = narrowed(space.dtype)
        low = _inside(space.low, dtype, np.inf)
        high = _inside(space.high, dtype, -np.inf)
        return Box(space.shape, dtype, _bound(low), _bound(high))
    if isinstance(space, spaces.Discrete):
        return Discrete(int(space.n), int(space.start))
    if isinstance(space, spaces.MultiDiscrete):
        nvec, start = (tuple(x.reshape(-1).tolist()) for x in (space.nvec, space.start))
        return MultiDiscrete(space.nvec.shape, nvec, start)
    if isinstance(space, spaces.MultiBinary):
        mask: ActionMask | None = getattr(space, "pgcli_action_mask", None)
        return mask or MultiBinary(space.shape)
    raise unsupported(space, env_id, part, usable, is_action=is_action)


def unsupported(
    space: Any,
    env_id: str,
    part: str | None = None,
    usable: Sequence[str] = (),
    *,
    is_action: bool = False,
) -> EnvironmentFailed:
    """The error for a space without a policy.

    `part` is its key in a Dict; of observations, the `usable` keys have one.
    """
    kind, help = type(space).__name__, "wrap the environment to convert it"
    if part is not None:
        kind += f" ({'action ' * is_action}`{part}`)"
    if usable:
        help = f"leave it out: --set env.obs_keys=[{','.join(usable)}]"
    return EnvironmentFailed(
        f"spaces of type {kind} are not supported",
        where=f"environment {env_id}",
        help=f"{help}; supported are Box, Discrete, MultiDiscrete, MultiBinary, and "
        "Dict and Tuple of these",
    )


def to_gymnasium(space: ObsSpace) -> Any:
    """The Gymnasium space of a space of ours."""
    from gymnasium import spaces

    if isinstance(space, Mapping):
        return spaces.Dict({name: to_gymnasium(part) for name, part in space.items()})
    if isinstance(space, Discrete):
        return spaces.Discrete(space.n, start=space.start)
    if isinstance(space, MultiDiscrete):
        sizes = (np.reshape(x, space.shape) for x in (space.nvec, space.start))
        return spaces.MultiDiscrete(next(sizes), np.int32, start=next(sizes))
    if isinstance(space, ActionMask):
        return mask_space(space)
    if isinstance(space, MultiBinary):
        return spaces.MultiBinary(space.shape)
    low, high = (np.broadcast_to(bound, space.shape) for bound in space.bounds())
    return spaces.Box(low, high, dtype=np.dtype(space.dtype).type)


def mask_space(mask: ActionMask) -> Any:
    """The Gymnasium space of action masks, which `from_gymnasium` recognises."""
    from gymnasium import spaces

    space = spaces.MultiBinary(mask.shape)
    space.pgcli_action_mask = mask  # type: ignore[attr-defined]
    return space


def action_to_gymnasium(spec: EnvSpec) -> Any:
    """The Gymnasium space of the actions, in the environment's own structure."""
    from gymnasium import spaces

    if isinstance(spec.action, Space):
        return to_gymnasium(spec.action)
    leaves = {name: to_gymnasium(part) for name, part in spec.action.items()}
    return assemble(spec.action_structure, leaves, spaces.Dict, spaces.Tuple)


def parts(space: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(name, plain space) of every part; `a/0` is the first part of the part `a`."""
    from gymnasium import spaces

    if isinstance(space, spaces.Dict | spaces.Tuple):
        named = space.items() if isinstance(space, spaces.Dict) else enumerate(space)
        for key, part in named:
            yield from parts(part, f"{path}/{key}" if path else str(key))
    else:
        yield path, space


def by_part(obs: Any) -> dict[str, Any]:
    """The parts of an observation or action, however deep, named as by `parts`."""

    # depth first; the path of a part joins the keys and indices that lead to it
    def walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict | tuple):
            named = value.items() if isinstance(value, dict) else enumerate(value)
            for key, part in named:
                yield from walk(part, f"{path}/{key}" if path else str(key))
        else:
            yield path, value

    return dict(walk(obs, ""))


def _space_to_json(space: ObsSpace) -> dict[str, Any]:
    if isinstance(space, Mapping):
        below = {name: _space_to_json(part) for name, part in space.items()}
        return {"type": "Dict", "spaces": below}

    def bound(value: Any) -> Any:
        return [str(x) for x in value] if isinstance(value, tuple) else str(value)

    data = {"type": type(space).__name__, **asdict(space)}
    # bounds as text, since JSON has no infinity
    return data | {key: bound(data[key]) for key in ("low", "high") if key in data}


def _space_from_json(data: Mapping[str, Any]) -> Any:
    if data["type"] == "Dict":
        parts = data["spaces"].items()
        return {name: _space_from_json(part) for name, part in parts}

    def bound(value: Any) -> Bound:
        if isinstance(value, list):
            return tuple(float(x) for x in value)
        return float(value)

    def whole(key: str, least: int) -> tuple[int, ...]:
        values = tuple(data[key])
        if any(type(x) is not int or not least <= x < 2**31 for x in values):
            raise ValueError(f"{data['type']} with {key} {values}")
        return values

    # the remaining type is Box
    lowest = -(2**31)
    if data["type"] == "Discrete":
        data = {**data, "n": [data["n"]], "start": [data["start"]]}
        return Discrete(*whole("n", 1), *whole("start", lowest))
    shape = whole("shape", 0)
    if data["type"] == "MultiDiscrete":
        return MultiDiscrete(shape, whole("nvec", 1), whole("start", lowest))
    if data["type"] == "MultiBinary":
        return MultiBinary(shape)
    if data["type"] == "ActionMask":
        return ActionMask(shape, whole("sizes", 1), str(data["source"]))
    if data["type"] != "Box" or np.dtype(data["dtype"]).kind not in "biuf":
        raise ValueError(f"space {data['type']} of dtype {data['dtype']}")
    # earlier versions kept integers of up to 32 bits as such
    dtype = narrowed(data["dtype"])
    box = Box(shape, dtype, bound(data["low"]), bound(data["high"]))
    box.bounds()  # raises if they do not fit the shape
    return box


def spec_to_json(spec: EnvSpec) -> dict[str, Any]:
    """The specification as plain data."""
    return {
        "id": spec.id,
        "obs": _space_to_json(spec.obs),
        "action": _space_to_json(spec.action),
        "max_episode_steps": spec.max_episode_steps,
        "action_dtype": spec.action_dtype,
        "action_structure": spec.action_structure,
    }


def spec_from_json(data: Mapping[str, Any]) -> EnvSpec:
    """The inverse of `spec_to_json`.

    Raises a KeyError, TypeError or ValueError for anything else.
    """
    return EnvSpec(
        data["id"],
        _space_from_json(data["obs"]),
        _space_from_json(data["action"]),
        data["max_episode_steps"],
        data.get("action_dtype"),
        data.get("action_structure"),
    )
