"""Checks of observations against their spaces."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pgcli.envs.base import Discrete, ObsSpace

_WHOLE = "biu"  # kinds of booleans and integers


def complaint(space: ObsSpace, obs: Any) -> str | None:
    """The first mismatch of an observation and its space, in words, or None.

    Compares the shape, the kind of dtype and, for Discrete, the range: NumPy would
    otherwise broadcast or convert the observation silently. Floats of another width are
    accepted, and so are values outside the bounds of a Box.
    """
    if isinstance(space, Mapping):
        if not isinstance(obs, Mapping) or obs.keys() != space.keys():
            return f"has the keys {_keys(obs)}; its space has {_keys(space)}"
        # the first part with a mismatch
        parts = ((name, complaint(part, obs[name])) for name, part in space.items())
        return next((f"[{name!r}] {words}" for name, words in parts if words), None)
    array = np.asarray(obs)
    shape = () if isinstance(space, Discrete) else space.shape
    dtype = np.dtype("int32" if isinstance(space, Discrete) else space.dtype)
    if array.shape != shape:
        return f"has the shape {array.shape}, not {shape}"
    # integers and booleans of any width fit each other; floats do not become integers
    both_whole = array.dtype.kind in _WHOLE and dtype.kind in _WHOLE
    if not (both_whole or np.can_cast(array.dtype, dtype, "same_kind")):
        return f"has the dtype {array.dtype}, not {dtype}"
    if isinstance(space, Discrete):
        last = space.start + space.n - 1
        if not space.start <= array <= last:
            return f"is {array}, outside its space ({space.start} to {last})"
    return None


def _keys(obs: Any) -> str:
    return ", ".join(map(str, obs)) if isinstance(obs, Mapping) else type(obs).__name__
