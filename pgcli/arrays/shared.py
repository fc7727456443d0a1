"""Results that runs of one process share, such as jitted functions."""

import gc
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax

T = TypeVar("T")

MAX_SHARED = 64
"""Number of results that `shared` keeps."""

MAPPINGS = Path("/proc/self/maps")
MOST_MAPPINGS = Path("/proc/sys/vm/max_map_count")
"""Mappings of this process's memory, and their largest number, under Linux.

XLA maps each kernel of a program for CPUs three times, and a process that is refused a
mapping crashes. The programs of a run need some thousand of about 65,000.
"""

_results: OrderedDict[Any, Any] = OrderedDict()


def shared(make: Callable[..., T], *structure: Any) -> T:
    """`make(*structure)`, or its result for equal arguments earlier in this process.

    Runs with the same structure thus share their policy and their jitted functions,
    which are traced and compiled once. The results used last are kept, and none if this
    process has half of all mappings. Without a hash (an observation space of several
    parts), there is no sharing.

    Args:
      make: a function whose result depends on its arguments only.
      structure: the arguments. Those that are equal but look different, such as 1 and
        1.0, are not the same.
    """
    key = (make, structure, repr(structure))
    try:
        known = key in _results
    except TypeError:
        return make(*structure)
    if not known:
        if _has_many_mappings():
            _forget()
        _results[key] = make(*structure)
    _results.move_to_end(key)
    if len(_results) > MAX_SHARED:
        _results.popitem(last=False)
    result: T = _results[key]
    return result


def _forget() -> None:
    _results.clear()
    # JAX keeps what it has traced, and with it programs, which are parts of cycles
    jax.clear_caches()  # type: ignore[no-untyped-call]
    gc.collect()


def _has_many_mappings() -> bool:
    try:
        count = MAPPINGS.read_bytes().count(b"\n")
        return count > int(MOST_MAPPINGS.read_text()) // 2
    except (OSError, ValueError):
        return False
