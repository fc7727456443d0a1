"""Checks of observations against their spaces."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pgcli.envs.base import ActionMask, Box, Discrete, ObsSpace, limits

_WHOLE = "biu"  # kinds of booleans and integers


def complaint(space: ObsSpace, obs: Any, batch: tuple[int, ...] = ()) -> str | None:
    """The first mismatch of an observation and its space, in words, or None.

    Compares the shape (with the axes `batch` in front), the kind of dtype and the
    range: NumPy would otherwise broadcast or convert the observation silently. Floats
    of another width are accepted, and so are values outside the bounds of a Box that
    its dtype can hold.
    """
    if isinstance(space, Mapping):
        if not isinstance(obs, Mapping) or obs.keys() != space.keys():
            return f"has the keys {_keys(obs)}; its space has {_keys(space)}"
        # the first part with a mismatch
        parts = (
            (name, complaint(part, obs[name], batch)) for name, part in space.items()
        )
        return next((f"[{name!r}] {words}" for name, words in parts if words), None)
    # the usual cases first: they occur at every step; masks were checked when made
    if isinstance(space, ActionMask) and getattr(obs, "dtype", None) == np.int8:
        return None
    if isinstance(space, Discrete) and isinstance(obs, int | np.integer) and not batch:
        inside = 0 <= obs - space.start < space.n
        return None if inside else _out_of_range(space, np.asarray(obs))
    try:
        array = np.asarray(obs)
    except ValueError:
        return "is a list of arrays of several shapes"
    if array.shape != (*batch, *space.shape):
        return f"has the shape {array.shape}, not {(*batch, *space.shape)}"
    # integers and booleans of any width fit each other; floats do not become integers
    dtype = np.dtype(space.dtype)
    both_whole = array.dtype.kind in _WHOLE and dtype.kind in _WHOLE
    if not (both_whole or np.can_cast(array.dtype, dtype, "same_kind")):
        return f"has the dtype {array.dtype}, not {dtype}"
    if isinstance(space, Box) and not _wraps(array.dtype, dtype):
        return None
    return _out_of_range(space, array)


def checked_by_form(space: ObsSpace, obs: Any) -> bool:
    """Whether all observations with the shape and dtype of a checked one fit."""
    return (
        isinstance(space, Box)
        and isinstance(obs, np.ndarray)
        and not _wraps(obs.dtype, np.dtype(space.dtype))
    )


def _wraps(source: np.dtype[Any], target: np.dtype[Any]) -> bool:
    """Whether values of a dtype may change when they are converted to an integer."""
    return target.kind in _WHOLE and not np.can_cast(source, target, "safe")


def _out_of_range(space: Any, array: np.ndarray) -> str | None:
    """A value that is no category, or that the dtype of a Box cannot hold."""
    reason = "outside its space"
    if not isinstance(space, Box):
        low, high = limits(space)
    elif space.dtype == "bool":
        low, high, reason = np.array(0), np.array(1), "which bool cannot hold"
    else:
        info = np.iinfo(space.dtype)
        low, high = np.array(info.min), np.array(info.max)
        reason = f"which {space.dtype} cannot hold"
    outside = (array < low) | (array > high)
    if not outside.any():
        return None
    # the first one, with its bounds
    index = tuple(int(i) for i in np.argwhere(outside)[0])
    first, last = (np.broadcast_to(x, array.shape)[index] for x in (low, high))
    place = f" at {list(index)}" if index else ""
    return f"is {array[index]}{place}, {reason} ({first} to {last})"


def _keys(obs: Any) -> str:
    return ", ".join(map(str, obs)) if isinstance(obs, Mapping) else type(obs).__name__
