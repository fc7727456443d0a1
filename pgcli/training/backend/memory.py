"""The memory that a run needs at least, compared with what there is."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import jax
import numpy as np

from pgcli.config.schema import RunConfig
from pgcli.envs.base import Discrete, ObsSpace, Space
from pgcli.errors import AcceleratorError, UsageError
from pgcli.nn.policy import Agent
from pgcli.training.step import Setup, agent_shapes

CGROUP = Path("/sys/fs/cgroup/memory.max")

COPIES = 4
"""Arrays of the size of the parameters: themselves, gradient, and Adam's moments."""

NUMBERS = 6
"""Floats of a sample besides observation and action: reward, values, weight, …"""


def require_memory(config: RunConfig, setup: Setup, agent: Agent | None = None) -> int:
    """Number of parameters of an agent, if the arrays of a run fit in memory.

    The estimate is a lower bound, so that no run that fits is refused.

    Args:
      config: resolved configuration of the run.
      setup: its static structure.
      agent: an agent, or its shapes; None to find them.

    Raises:
      UsageError: they do not fit; the message has the sizes.
    """
    # samples of a rollout [T, N], observations of an evaluation [E], parameters
    obs, action = _bytes(setup.spec.obs), _bytes(setup.spec.action)
    samples = setup.columns * setup.num_steps
    rollout = samples * (obs + action + 4 * NUMBERS)
    if config.env.on_device:
        rollout = max(rollout, config.eval.episodes * obs)
    arrays = jax.tree.leaves((agent or agent_shapes(setup)).params)
    params = sum(int(math.prod(x.shape)) for x in arrays)
    need = config.num_members * (rollout + 4 * COPIES * params)
    have = available()
    if need <= have:
        return params
    several = f"{config.num_members:,} members with " if config.has_members else ""
    raise UsageError(
        f"the run needs at least {_size(need)} of memory, and there are {_size(have)}: "
        f"{several}{samples:,} samples of {rollout // samples:,} bytes and {params:,} "
        "parameters",
        help="lower env.num_envs, rollout.num_steps, network.hidden, eval.episodes or "
        "seeds; --dry-run shows the batch",
    )


def available() -> float:
    """Memory of all devices in bytes; on the CPU, that of the machine or container."""
    # only accelerators report a limit
    stats = [device.memory_stats() for device in jax.local_devices()]
    limits = [each["bytes_limit"] for each in stats if each and "bytes_limit" in each]
    if limits:
        return float(sum(limits))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):  # no container, or `max`
        memory = min(memory, int(CGROUP.read_text()))
    return float(memory)


def _bytes(space: ObsSpace) -> int:
    """Bytes of one value of a space, as it is stored."""
    if not isinstance(space, Space):
        return sum(_bytes(part) for part in space.values())
    count = 1 if isinstance(space, Discrete) else math.prod(space.shape)
    return int(count * np.dtype(space.dtype).itemsize)


def _size(count: float) -> str:
    return (
        f"{count / 2**30:,.3g} GiB" if count >= 2**30 else f"{count / 2**20:,.3g} MiB"
    )


@contextmanager
def memory_errors() -> Iterator[None]:
    """Converts the errors of Python, NumPy and XLA for missing memory.

    Raises:
      AcceleratorError: memory ran out inside the block.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # XlaRuntimeError of jaxlib has no public name
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(
            error
        ):
            raise
        raise AcceleratorError(
            "the accelerator ran out of memory"
            if isinstance(error, RuntimeError)
            else "the machine ran out of memory",
            help="lower env.num_envs or rollout.num_steps, or the number of episodes",
        ) from error
