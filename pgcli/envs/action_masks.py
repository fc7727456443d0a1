"""The forms in which action masks are given, and the one that policies get."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pgcli.envs.base import ActionSpace, MultiBinary, Space, component_sizes

KEY = "action_mask"
"""The key of masks in observations and info that `env.action_mask: auto` knows."""

OFF = "or without masks: --set env.action_mask=off"


def flat_mask(action: ActionSpace, given: Any) -> np.ndarray:
    """A mask [L] of zeros and ones, as in `ActionMask`.

    Several components have their masks as one array [L], as one array each, or, with n
    values each, as an array [*shape, n]. Bits can also have one of their own shape:
    whether each may be 1. A Dict or Tuple of actions has its masks in the same
    structure, without those of a Box, or as one array [L].

    Args:
      action: action space.
      given: the mask in any of these forms.

    Raises:
      ValueError: it has another form, values other than 0 and 1, or no 1 for a
        component.
    """
    if isinstance(action, Mapping):
        return _of_parts(action, given)
    # one array, of a form that fits
    sizes = component_sizes(action)
    if isinstance(given, list | tuple) and len(given) and np.ndim(given[0]):
        parts = [np.asarray(part).reshape(-1) for part in given]
        if (lengths := (*map(len, parts),)) != sizes:
            raise ValueError(f"has parts of {lengths} values, not {sizes}")
        given = np.concatenate(parts)
    mask, total = np.asarray(given), sum(sizes)
    if isinstance(action, MultiBinary) and mask.shape == action.shape:
        mask = np.stack([np.ones_like(mask), mask], axis=-1)
    fits = (total,), (*action.shape, sizes[0])
    if mask.shape not in fits or mask.size != total:
        raise ValueError(f"has the shape {mask.shape}, not ({total},)")
    # of zeros and ones
    if mask.dtype.kind not in "biuf" or not ((mask == 0) | (mask == 1)).all():
        raise ValueError("has values other than 0 and 1")
    flat: np.ndarray = mask.reshape(-1).astype(np.int8)
    if len(sizes) == 1:
        if not flat.any():
            raise ValueError("has no valid action")
    elif not np.logical_or.reduceat(flat, np.cumsum((0, *sizes[:-1]))).all():
        raise ValueError("has no valid value for a component of the action")
    return flat


def _of_parts(action: Mapping[str, Space], given: Any) -> np.ndarray:
    """The mask of a Dict or Tuple of actions, whose parts are named by their paths."""
    parts = {name: action[name] for name in sorted(action)}
    sizes = {name: sum(component_sizes(part)) for name, part in parts.items()}
    if isinstance(given, np.ndarray):
        if given.shape != (sum(sizes.values()),):
            total = sum(sizes.values())
            raise ValueError(f"has the shape {given.shape}, not ({total},)")
        ends = np.cumsum([*sizes.values()])
        given = dict(zip(sizes, np.split(given, ends[:-1]), strict=True))
    else:
        given = {name: _at(given, name) for name, size in sizes.items() if size}
    masks = [
        flat_mask(part, given[name]) for name, part in parts.items() if sizes[name]
    ]
    return np.concatenate(masks)


def _at(given: Any, path: str) -> Any:
    for key in path.split("/"):
        try:
            given = given[key] if isinstance(given, Mapping) else given[int(key)]
        except (LookupError, TypeError, ValueError):
            raise ValueError(f"has no part `{path}`") from None
    return given
