"""Actions: from a policy's format to that of an environment.

A policy counts categories from 0 and does not know bounds. A Dict or Tuple of actions,
however deep, is one mapping of its plain parts, by their paths as in `spaces.by_part`;
only the environment gets its own structure.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pgcli.envs.base import (
    ActionSpace,
    Box,
    Discrete,
    EnvSpec,
    MultiBinary,
    MultiDiscrete,
    Space,
    component_sizes,
)

Structure = str | dict[str, Any] | list[Any]
"""Paths of parts in place of the plain spaces of a Dict (a dict) or Tuple (a list)."""


def env_action(space: ActionSpace, action: Any) -> Any:
    """Values of the action space, from those that the policy took.

    A continuous action is clipped to the bounds; the rollout stores the unclipped one.
    `action` is [] or [N] for Discrete, else [A] or [N, A], or a mapping of such parts.
    """
    # a policy counts from 0
    if isinstance(space, Discrete):
        return action + space.start
    if not isinstance(space, Space):
        return {name: env_action(part, action[name]) for name, part in space.items()}
    if isinstance(space, MultiDiscrete):
        action = action + np.asarray(space.start, np.int32).reshape(
            *(1,) * (action.ndim - 1), -1
        )
    # [N, A] -> [N, *shape]
    shaped = action.reshape((*action.shape[:-1], *space.shape))
    if isinstance(space, MultiBinary):
        return shaped.astype(space.dtype)
    return shaped.clip(*space.bounds()) if isinstance(space, Box) else shaped


def host_action(spec: EnvSpec, action: Any) -> Any:
    """`env_action` in the environment's own dtypes and structure: leaves [N, …]."""
    values, dtypes = env_action(spec.action, action), own_dtypes(spec)
    if spec.action_structure is None:
        return values.astype(dtypes, copy=False)
    parts = {name: x.astype(dtypes[name], copy=False) for name, x in values.items()}
    return assemble(spec.action_structure, parts)


def own_dtypes(spec: EnvSpec) -> Any:
    """Dtype of the environment's own action space; for several parts, of each."""
    if spec.action_dtype is not None:
        return spec.action_dtype
    if isinstance(spec.action, Space):
        return spec.action.dtype
    return {name: x.dtype for name, x in spec.action.items()}


def structure_of(space: Any, path: str = "") -> Structure:
    """The structure of a Gymnasium space; the path alone if it is plain."""
    from gymnasium import spaces

    def below(key: Any, part: Any) -> Structure:
        return structure_of(part, f"{path}/{key}" if path else str(key))

    if isinstance(space, spaces.Dict):
        return {key: below(key, part) for key, part in space.items()}
    if isinstance(space, spaces.Tuple):
        return [below(i, part) for i, part in enumerate(space)]
    return path


def assemble(
    structure: Any,
    parts: Mapping[str, Any],
    as_dict: Callable[[dict[str, Any]], Any] = dict,
    as_tuple: Callable[[list[Any]], Any] = tuple,
) -> Any:
    """The parts in the structure of the environment, its dicts and tuples."""
    if isinstance(structure, str):
        return parts[structure]
    below = (
        {key: assemble(x, parts, as_dict, as_tuple) for key, x in structure.items()}
        if isinstance(structure, Mapping)
        else [assemble(x, parts, as_dict, as_tuple) for x in structure]
    )
    return as_dict(below) if isinstance(below, dict) else as_tuple(below)


def row(action: Any, n: int) -> Any:
    """Row n of every part, as from `sample`: a NumPy integer, or an array."""
    if isinstance(action, dict):
        return {name: row(part, n) for name, part in action.items()}
    if isinstance(action, tuple):
        return tuple(row(part, n) for part in action)
    item = action[n]
    return np.array(item) if item.dtype.kind == "f" or item.ndim else item


def random_action(
    space: ActionSpace,
    batch: tuple[int, ...],
    generator: np.random.Generator,
    mask: np.ndarray | None = None,
) -> Any:
    """Actions [*batch, …] in a policy's format: uniform, or standard normal.

    With a mask [*batch, L], uniform over the valid values of each component.
    """
    if isinstance(space, Mapping):
        masks = dict.fromkeys(space, mask)
        if mask is not None:
            names = sorted(space)
            ends = np.cumsum([sum(component_sizes(space[name])) for name in names])
            masks = dict(zip(names, np.split(mask, ends[:-1], axis=-1), strict=True))
        return {
            name: random_action(part, batch, generator, masks[name])
            for name, part in space.items()
        }
    if mask is not None and not isinstance(space, Box):
        keys = np.where(mask > 0, generator.random(mask.shape), -1.0)
        ends = np.cumsum(component_sizes(space))
        parts = np.split(keys, ends[:-1], axis=-1)
        chosen = [part.argmax(axis=-1).astype(np.int32) for part in parts]
        return chosen[0] if isinstance(space, Discrete) else np.stack(chosen, -1)
    # shapes as from a policy: [*batch] for Discrete, else [*batch, A]
    if isinstance(space, Box):
        size = (*batch, math.prod(space.shape))
        return generator.normal(size=size).astype(np.float32)
    if isinstance(space, Discrete):
        return generator.integers(space.n, size=batch).astype(np.int32)
    if isinstance(space, MultiDiscrete):
        size = (*batch, len(space.nvec))
        return generator.integers(space.nvec, size=size).astype(np.int32)
    size = (*batch, math.prod(space.shape))
    return generator.integers(2, size=size).astype(np.int32)
