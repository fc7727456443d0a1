"""Layout of a run over devices: members are distributed, or else the batch is split."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from pgcli import versions
from pgcli.arrays.device_mesh import DATA, SEED
from pgcli.config.layout import default_shards, devices_in_use, minibatch_size
from pgcli.config.schema import RunConfig
from pgcli.errors import AcceleratorError
from pgcli.training.backend import accelerator

FEW_SAMPLES, FEW_OF_SEQUENCES = 512, 256
"""Samples of a minibatch below which the communication of two CPU devices costs more
than it gains, without and with a memory."""

FEW_VALUES = 2**16
"""Likewise samples × units of a hidden layer."""

MANY_THREADS = {"nature_cnn", "impala_cnn"}
"""Networks with products large enough for all cores, for any size of minibatch."""


class Layout(NamedTuple):
    """Devices along each axis of the mesh."""

    seed: int  # over members
    data: int  # over environments and rows of the batch

    @property
    def devices(self) -> int:
        """Number of devices used."""
        return self.seed * self.data


def worthwhile_minibatch(config: RunConfig) -> int:
    """Samples of a minibatch from which several cores are faster than one."""
    network = config.network
    if network.memory is not None:
        return FEW_OF_SEQUENCES
    return max(FEW_SAMPLES, FEW_VALUES // max(network.hidden, default=1))


def _many_threads(config: RunConfig) -> bool:
    network = config.network
    return bool(MANY_THREADS & {network.torso, *network.encoders.values()})


def cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


def choose(config: RunConfig, available: int, *, on_cpu: bool) -> Layout:
    """The layout of a run over at most `available` devices.

    Members are distributed over the devices, because they need no communication. A
    single run is split if several devices are requested. Otherwise it is split on a CPU
    if its minibatches are large enough, and on accelerators if its environments are on
    the device too: host environments feed one device.

    Args:
      config: resolved configuration of the run.
      available: number of available devices.
      on_cpu: whether the devices are parts of one processor.
    """
    requested, device = config.parallel.devices, config.env.on_device
    used = devices_in_use(config, min(requested or available, available))
    if config.has_members:
        return Layout(used, 1)
    large = minibatch_size(config) >= worthwhile_minibatch(config)
    worthwhile = large if on_cpu else device
    return Layout(1, used if requested is not None or worthwhile else 1)


def make_mesh(layout: Layout, devices: list[jax.Device] | None = None) -> Mesh | None:
    """Mesh of a layout over the given or the first devices; None for a single one."""
    if layout.devices == 1:
        return None
    devices = devices or jax.devices()[: layout.devices]
    mesh: Mesh = versions.make_mesh((layout.seed, layout.data), (SEED, DATA), devices)
    return mesh


class Backend(NamedTuple):
    """Accelerator and mesh of a run."""

    accelerator: accelerator.Accelerator
    mesh: Mesh | None


def on_cpu(config: RunConfig, recorded: Mapping[str, Any]) -> tuple[Layout, int]:
    """(layout, threads) of a run on the CPU, which are chosen before JAX starts."""
    # a resumed run uses its recorded threads, and at most its recorded devices
    limit = int(recorded.get("devices", 1)) if recorded else cores()
    layout = choose(config, max(1, min(cores(), limit)), on_cpu=True)
    large = minibatch_size(config) >= worthwhile_minibatch(config)
    large = large or _many_threads(config) or layout.devices > 1
    threads = cores() if large else 1
    return layout, int(recorded.get("cpu_threads", threads))


def start(
    config: RunConfig,
    recorded: Mapping[str, Any] | None = None,
    processes: int = 1,
) -> Backend:
    """Starts JAX for a run.

    Args:
      config: resolved configuration of the run.
      recorded: recorded fingerprint of the accelerator, for a resumed run: threads and
        devices determine the bits of an update.
      processes: number of processes whose devices the run is split over.

    Raises:
      AcceleratorError: the requested devices are not available.
    """
    recorded = recorded or {}
    if processes > 1:
        return _start_together(config, recorded, processes)
    limit = int(recorded.get("devices", 1)) if recorded else cores()
    layout, threads = on_cpu(config, recorded)
    started = accelerator.start(
        config.accelerator,
        host_envs=not config.env.on_device,
        cpu_threads=threads,
        cpu_devices=layout.devices,
    )

    # the number of devices that JAX has found
    available = min(started.devices, limit) if recorded else started.devices
    requested = config.parallel.devices
    if requested is not None and requested > available:
        raise AcceleratorError(
            f"{requested} devices were asked for, and there "
            + ("is 1" if available == 1 else f"are {available}"),
            help="lower --devices, or leave it out to take what there is",
        )
    if started.platform != "cpu" or available < layout.devices:
        # an accelerator, or a process whose JAX had started with fewer devices
        layout = choose(config, available, on_cpu=started.platform == "cpu")
    used = dataclasses.replace(started, devices=layout.devices)
    return Backend(used, make_mesh(layout))


def _start_together(
    config: RunConfig, recorded: Mapping[str, Any], processes: int
) -> Backend:
    """`start` for one run on the same number of devices of every process."""
    started = accelerator.start(
        config.accelerator,
        host_envs=False,
        cpu_threads=int(recorded.get("cpu_threads", cores())),
    )
    rows = config.parallel.shards or default_shards(config)
    # a processor is one device: with more of them, collectives can block each other
    available = processes if started.platform == "cpu" else started.devices
    requested, most = config.parallel.devices, available // processes
    if requested is not None:
        most = requested // processes
        if processes * most > available or requested % processes or not most:
            raise AcceleratorError(
                f"{requested} devices were asked for, and {processes} processes have "
                f"{available}",
                help="lower --devices to a multiple of the number of processes, or "
                "leave it out to take what there is",
            )
    # the largest number per process that splits the rows evenly
    each = next(n for n in range(most, 0, -1) if rows % (processes * n) == 0)
    used = dataclasses.replace(started, devices=processes * each, processes=processes)
    devices = [
        device
        for index in range(processes)
        for device in jax.local_devices(process_index=index)[:each]
    ]
    return Backend(used, make_mesh(Layout(1, used.devices), devices))
