"""Layout of a run over devices: members are distributed, or else the batch is split."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from pgcli import versions
from pgcli.arrays.device_mesh import DATA, SEED
from pgcli.config.checks import default_shards, devices_for_runs
from pgcli.config.schema import RunConfig
from pgcli.envs.registry import on_device
from pgcli.errors import AcceleratorError, UsageError
from pgcli.training.backend import accelerator

SMALL_MINIBATCH = 512
"""Samples below which the communication of two CPU devices costs more than it gains."""

MANY_THREADS = ("nature_cnn",)
"""Torsos with products large enough for all cores, for any size of minibatch."""


class Layout(NamedTuple):
    """Devices along each axis of the mesh."""

    seed: int  # over members
    data: int  # over environments and rows of the batch

    @property
    def devices(self) -> int:
        """Number of devices used."""
        return self.seed * self.data


def cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))


def minibatch_size(config: RunConfig) -> int:
    """Samples per gradient step, if a fixed number of steps is collected."""
    minibatches = config.algo.num_minibatches
    return config.env.num_envs * config.rollout.num_steps // minibatches


def choose(
    config: RunConfig, available: int, *, on_cpu: bool, started: bool = True
) -> Layout:
    """The layout of a run over at most `available` devices.

    Members do not communicate and are distributed over the devices. A single run is
    split by the rows of its batch: on the CPU if its minibatches are large, and on an
    accelerator if its environments run on the device, or if devices are requested.

    Args:
      config: resolved configuration of the run.
      available: number of available devices.
      on_cpu: whether the devices are parts of one processor.
      started: whether JAX has started, so that `available` is exact and not a minimum.

    Raises:
      AcceleratorError: more devices are requested than available.
      UsageError: several devices are requested for members with host environments.
    """
    asked = config.parallel.devices
    host = not on_device(config.env.id)
    if asked is not None and asked > 1 and host and config.has_members:
        raise UsageError(
            f"{asked} devices were asked for, and {config.env.id} steps on the host, "
            "where runs side by side take turns on one",
            help="leave out --devices, or take an on-device environment: `pgcli envs`",
        )
    if started and asked is not None and asked > available:
        raise AcceleratorError(
            f"{asked} devices were asked for, and there "
            + ("is 1" if available == 1 else f"are {available}"),
            help="lower --devices, or leave it out to take what there is",
        )
    if host and config.has_members:
        return Layout(1, 1)
    limit = min(asked or available, available)
    if config.has_members:
        return Layout(devices_for_runs(config.num_members, limit), 1)
    if config.algo.collects == "episodes":
        return Layout(1, 1)
    large = minibatch_size(config) >= SMALL_MINIBATCH
    if asked is None and not (large if on_cpu else not host):
        return Layout(1, 1)
    shards = config.parallel.shards or default_shards(config)
    return Layout(1, _largest_divisor(shards, limit))


def _largest_divisor(number: int, limit: int) -> int:
    return next(d for d in range(min(number, limit), 0, -1) if number % d == 0)


def make_mesh(layout: Layout) -> Mesh | None:
    """Mesh of a layout; None for a single device."""
    if layout.devices == 1:
        return None
    devices = jax.devices()[: layout.devices]
    mesh: Mesh = versions.make_mesh((layout.seed, layout.data), (SEED, DATA), devices)
    return mesh


class Backend(NamedTuple):
    """Accelerator and mesh of a run."""

    accelerator: accelerator.Accelerator
    mesh: Mesh | None


def start(config: RunConfig, recorded: Mapping[str, Any] | None = None) -> Backend:
    """Starts JAX for a run.

    Args:
      config: resolved configuration of the run.
      recorded: recorded fingerprint of the accelerator, for a resumed run: threads and
        devices determine the bits of an update.

    Raises:
      AcceleratorError: the requested devices are not available.
    """
    recorded = recorded or {}
    limit = int(recorded.get("devices", 1)) if recorded else cores()
    layout = choose(config, max(1, min(cores(), limit)), on_cpu=True, started=False)
    large = minibatch_size(config) >= SMALL_MINIBATCH
    large = large or config.network.torso in MANY_THREADS
    threads = cores() if large or layout.devices > 1 else 1
    started = accelerator.start(
        config.accelerator,
        host_envs=not on_device(config.env.id),
        cpu_threads=int(recorded.get("cpu_threads", threads)),
        cpu_devices=layout.devices,
    )
    available = min(started.devices, limit) if recorded else started.devices
    layout = choose(config, available, on_cpu=started.platform == "cpu")
    used = dataclasses.replace(started, devices=layout.devices)
    return Backend(used, make_mesh(layout))
