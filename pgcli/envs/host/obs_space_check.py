"""Whether an observation is what its space says."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pgcli.envs.base import Discrete, ObsSpace

_WHOLE = "biu"  # kinds of booleans and integers


def complaint(space: ObsSpace, obs: Any) -> str | None:
    """What is wrong with the form of an observation, in words; None where it fits.

    Looked at are shape, kind of dtype and, where Discrete, the range: what would
    otherwise be stretched, cut or taken for another number without a word. Floats of
    another width are converted, and a Box may be left by its values.
    """
    if isinstance(space, Mapping):
        if not isinstance(obs, Mapping) or obs.keys() != space.keys():
            return f"has the keys {_keys(obs)}, and its space {_keys(space)}"
        found = ((name, complaint(part, obs[name])) for name, part in space.items())
        return next((f"[{name!r}] {words}" for name, words in found if words), None)
    array = np.asarray(obs)
    shape = () if isinstance(space, Discrete) else space.shape
    dtype = np.dtype("int32" if isinstance(space, Discrete) else space.dtype)
    if array.shape != shape:
        return f"has the shape {array.shape}, and its space {shape}"
    both_whole = array.dtype.kind in _WHOLE and dtype.kind in _WHOLE
    if not (both_whole or np.can_cast(array.dtype, dtype, "same_kind")):
        return f"has the dtype {array.dtype}, and its space {dtype}"
    if isinstance(space, Discrete):
        last = space.start + space.n - 1
        if not space.start <= array <= last:
            return f"is {array}, and its space goes from {space.start} to {last}"
    return None


def _keys(obs: Any) -> str:
    return ", ".join(map(str, obs)) if isinstance(obs, Mapping) else type(obs).__name__
