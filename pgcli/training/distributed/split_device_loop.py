"""One run on the devices of several processes, which all compute the same program."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from pgcli.arrays.device_mesh import EVERYWHERE
from pgcli.config.schema import RunConfig
from pgcli.envs.base import DeviceEnv
from pgcli.nn.policy import Agent
from pgcli.training.backend.sharding import on_first
from pgcli.training.distributed.collectives import muted_stdout
from pgcli.training.distributed.leader import Leader
from pgcli.training.loops.base import Groups, Stored, to_words
from pgcli.training.loops.device_loop import DeviceLoop, to_groups
from pgcli.training.step import Report


class SplitDeviceLoop(DeviceLoop):
    """Training on an on-device environment, with batch and environments split.

    Evaluations need no other process: the agent is on every device.
    """

    def __init__(
        self, config: RunConfig, env: DeviceEnv, mesh: Mesh, leader: Leader | None
    ) -> None:
        """Prepares the run; all processes must make it. Process 0 has the `leader`."""
        self._leader = leader
        self.helpers = f"{leader.count} processes" if leader else ""
        self._is_compiled = self._is_connected = False
        super().__init__(config, env, mesh=mesh)
        self._everywhere = NamedSharding(mesh, EVERYWHERE)
        self._placement = jax.tree.map(lambda x: x.sharding, self._state)
        self.commands: Mapping[str, Callable[..., Any]] = {
            "compile": self._compile,
            "compute": lambda **data: self._compute(**data) and None,
            "gather": lambda: self._gather() and None,
            "restore": self._restore,
        }

    def _together(self, command: str, **data: Any) -> AbstractContextManager[Any]:
        """A block that all processes compute (`Leader.together`)."""
        leader = self._leader
        return leader.together(command, **data) if leader else contextlib.nullcontext()

    def compute(self, until: int, limit: int) -> tuple[Report, int]:
        """See `DeviceLoop.compute`."""
        # a process that compiles longer than the others must not keep them waiting in
        # a collective, which has a time limit
        if not self._is_compiled:
            with self._together("compile"):
                self._compile()
        with self._together("compute", until=until, limit=limit):
            return self._compute(until, limit)

    def _compute(self, until: int, limit: int) -> tuple[Report, int]:
        with self._first_is_muted():
            return super().compute(until, limit)

    @contextmanager
    def _first_is_muted(self) -> Iterator[None]:
        """A block for a collective, of which the first writes to stdout."""
        with contextlib.nullcontext() if self._is_connected else muted_stdout():
            yield
        self._is_connected = True

    def _compile(self) -> None:
        arguments = (self._knobs, self._state, self._run_key, self._budget)
        with jax.set_mesh(self._mesh):
            lowered = self._chunk.lower(*arguments, to_words(0), np.int32(1))
        self._chunk: Any = lowered.compile()
        self._is_compiled = True

    def agent(self) -> Agent:
        """The current agent, on a device of this process."""
        return on_first(super().agent())

    def snapshot(self) -> Groups:
        """See `Loop.snapshot`."""
        with self._together("gather"):
            return to_groups(self._gather())

    @cached_property
    def _replicate(self) -> Any:
        return jax.jit(lambda state: state, out_shardings=self._everywhere)

    def _gather(self) -> Any:
        """The whole state, on a device of this process."""
        with self._first_is_muted():
            whole = on_first(self._replicate(self._state))
            return jax.block_until_ready(whole)  # type: ignore[no-untyped-call]

    def restore(self, groups: Stored, where: str) -> str:
        """See `Loop.restore`."""
        with self._together("restore", groups=groups, where=where):
            return self._restore(groups, where)["level"]

    def _restore(self, groups: Stored, where: str) -> dict[str, str]:
        level = super().restore(groups, where)
        self._state = jax.tree.map(_split, self._state, self._placement)
        return {"level": level}


def _split(array: Any, sharding: NamedSharding) -> Any:
    """An array that every process holds, of which each keeps its part."""
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_split(jax.random.key_data(array), sharding))
    whole = np.asarray(array)
    return jax.make_array_from_callback(whole.shape, sharding, lambda part: whole[part])
