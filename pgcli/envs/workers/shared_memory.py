"""The arrays of one step, in memory shared by several processes.

The memory is an unnamed file, which the system frees with the last process that maps
it.
"""

import math
import mmap
import os
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from pgcli.envs.base import (
    ActionSpace,
    Box,
    Discrete,
    EnvSpec,
    HostSlot,
    ObsSpace,
    Space,
)

ALIGNMENT = 64


def unnamed_file(name: str) -> int:
    """The descriptor of an empty file without a name, in memory if possible."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def action_row(space: Space) -> tuple[tuple[int, ...], str]:
    """Shape and dtype of one environment's action, in a policy's format."""
    if isinstance(space, Discrete):
        return (), "int32"
    dtype = "float32" if isinstance(space, Box) else "int32"
    return (math.prod(space.shape),), dtype


class _Cutter:
    """Allocates arrays sequentially in a memory; without one, counts their bytes."""

    def __init__(self, memory: mmap.mmap | None) -> None:
        self._memory = memory
        self.used = 0

    def array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """The next array, initially zero."""
        # every array starts at a multiple of ALIGNMENT
        size = math.prod(shape) * np.dtype(dtype).itemsize
        offset = self.used
        self.used += -(-size // ALIGNMENT) * ALIGNMENT
        if self._memory is None:
            return np.empty(0)
        flat: np.ndarray = np.frombuffer(self._memory, dtype, math.prod(shape), offset)
        return flat.reshape(shape)

    def obs(self, space: ObsSpace, num_envs: int) -> Any:
        """Observations [N, …] of a space."""
        if isinstance(space, Mapping):
            return {name: self.obs(part, num_envs) for name, part in space.items()}
        if isinstance(space, Discrete):
            return self.array((num_envs,), "int32")
        return self.array((num_envs, *space.shape), space.dtype)

    def action(self, space: ActionSpace, num_envs: int) -> Any:
        """Actions [N, …] in a policy's format."""
        if isinstance(space, Mapping):
            return {name: self.action(part, num_envs) for name, part in space.items()}
        shape, dtype = action_row(space)
        return self.array((num_envs, *shape), dtype)


class Block:
    """Inputs and results of one step of N environments.

    Attributes:
      action: [N, …] as the policy returned it.
      active: [N], used if only some environments step.
      slot: the results.
      counts_lives: [1], whether lost lives are recorded.
      life_lost: [N], whether a life was lost, if that is recorded.
      final_obs: [N, *obs], valid in the rows of `has_final`.
      has_final: [N], whether a row has a final observation.
      now: [W], the row that each worker is resetting or stepping.
    """

    def __init__(self, file: int, spec: EnvSpec, num_envs: int, workers: int) -> None:
        """Maps the file, after enlarging it to the size of the arrays."""
        # a first pass counts bytes, a second one creates the arrays
        counter = _Cutter(None)
        self._cut(counter, spec, num_envs, workers)
        if os.fstat(file).st_size < counter.used:
            os.ftruncate(file, counter.used)
        self._cut(_Cutter(mmap.mmap(file, counter.used)), spec, num_envs, workers)

    def _cut(self, cutter: _Cutter, spec: EnvSpec, num_envs: int, workers: int) -> None:
        self.action = cutter.action(spec.action, num_envs)
        self.active = cutter.array((num_envs,), bool)
        self.slot = HostSlot(
            cutter.obs(spec.obs, num_envs),
            cutter.array((num_envs,), np.float32),
            *(cutter.array((num_envs,), bool) for _ in range(4)),
        )
        self.counts_lives = cutter.array((1,), bool)
        self.life_lost = cutter.array((num_envs,), bool)
        self.final_obs = cutter.obs(spec.obs, num_envs)
        self.has_final = cutter.array((num_envs,), bool)
        self.now = cutter.array((workers,), np.int64)
