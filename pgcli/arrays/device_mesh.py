"""The devices that a program is compiled for, as seen by the pure core.

Code is written for one global view of its arrays. Devices hold parts of them along the
axes of the ambient mesh (`jax.set_mesh`): `data` splits environments and rows of a
batch, `seed` splits independent runs. Without a mesh there is one device.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import PartitionSpec

from pgcli.arrays.shapes import Array

DATA, SEED = "data", "seed"


def on_cpu() -> bool:
    """Whether programs are traced for the CPU; for GPUs and TPUs they have other forms.

    The convolutions choose theirs when a program is lowered.
    """
    return jax.default_backend() == "cpu"


def axis_size(name: str) -> int:
    """Number of devices along an axis of the ambient mesh; 1 without a mesh."""
    size: int = jax.sharding.get_abstract_mesh().shape.get(name, 1)
    return size


def per_device(
    function: Callable[..., Any], in_specs: Any, out_specs: Any
) -> Callable[..., Any]:
    """`function` applied to each device's part along the axis `data`.

    The devices do not communicate. With one device, `function` is returned unchanged.

    Args:
      function: function of the local parts.
      in_specs: `PartitionSpec` trees that split the arguments.
      out_specs: `PartitionSpec` trees of the results.
    """
    if axis_size(DATA) == 1:
        return function
    return jax.shard_map(
        function, in_specs=in_specs, out_specs=out_specs, check_vma=False
    )


def first_index(local_size: int) -> Array | int:
    """Global index of the first local environment, inside `per_device`."""
    if axis_size(DATA) == 1:
        return 0
    return jax.lax.axis_index(DATA) * local_size


COLUMNS = PartitionSpec(None, DATA)  # type: ignore[no-untyped-call]
"""[T, N, …], split by environment."""
ROWS = PartitionSpec(DATA)  # type: ignore[no-untyped-call]
"""[N, …] or [S, …], split by environment or by row of the batch."""
EVERYWHERE = PartitionSpec()  # type: ignore[no-untyped-call]
"""Held by every device."""
STACKED = PartitionSpec(SEED)  # type: ignore[no-untyped-call]
"""[M, …], split by independent run."""
STACKED_ROWS = PartitionSpec(None, SEED)  # type: ignore[no-untyped-call]
"""[rows, M, …], split by independent run."""
