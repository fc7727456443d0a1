"""Arrays of a device as NumPy arrays."""

from typing import Any

import jax
import numpy as np

from pgcli.arrays.device_mesh import on_cpu


def fetch(tree: Any) -> Any:
    """A tree of JAX arrays, in NumPy.

    `jax.device_get` starts all copies before it waits for one. On a CPU nothing is
    copied, and it takes 160 µs for 26 arrays instead of 20.
    """
    return jax.tree.map(np.asarray, tree) if on_cpu() else jax.device_get(tree)
