"""The loop of a run on several processes, in process 0 and in the others."""

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from pgcli.config.load import to_mapping
from pgcli.config.schema import RunConfig
from pgcli.envs.make import make_device_env
from pgcli.training.backend import layout
from pgcli.training.backend.accelerator import Accelerator
from pgcli.training.backend.memory import memory_errors
from pgcli.training.backend.precision import in_32_bits
from pgcli.training.distributed.collectives import collectives, use_only
from pgcli.training.distributed.follow import Commands, join, obey
from pgcli.training.distributed.leader import Leader
from pgcli.training.distributed.link import free_port
from pgcli.training.distributed.processes import Processes, check
from pgcli.training.distributed.split_device_loop import SplitDeviceLoop
from pgcli.training.distributed.split_envs import EnvWorker, make_split_envs
from pgcli.training.distributed.split_members import PartWorker, SplitMembers, parts_of
from pgcli.training.loops.base import Loop
from pgcli.training.loops.host_loop import HostLoop
from pgcli.training.members.device_members import DeviceMembers
from pgcli.training.members.host_members import HostMembers
from pgcli.training.members.tracker import MembersTracker
from pgcli.training.reporter import Reporter
from pgcli.training.stop_signals import stop_on_signal
from pgcli.training.tracker import RunTracker, Tracker


@contextmanager
def leading_loop(
    config: RunConfig, recorded: Mapping[str, Any] | None, leader: Leader
) -> Iterator[tuple[Loop, Tracker, Accelerator]]:
    """Yields (loop, its tracker, its accelerator) of process 0; closes it at the end.

    `recorded` is the fingerprint of the accelerator of a resumed run.
    """
    check(config, leader.count)
    port, own = free_port(leader.own_address), leader.own_address
    start: dict[str, Any] = {"recorded": recorded, "port": port}
    loop: Loop
    with ExitStack() as stack:
        # all processes start JAX at the same time, since `collectives` connects them
        with leader.together("prepare", config=to_mapping(config), **start):
            if config.has_members:
                part, used = _part(config, recorded, leader.processes)
            elif config.env.on_device:
                stack.enter_context(collectives(leader.processes, port, own))
                backend = layout.start(config, recorded, leader.count)
                loop, used = _split(config, backend, leader), backend.accelerator
            else:
                backend = layout.start(config, recorded)
                used = backend.accelerator
        # host environments are made by a separate command, after `prepare`
        tracker: Tracker = RunTracker()
        if config.has_members:
            loop = members = SplitMembers(config, part, leader)
            tracker = MembersTracker(members)
        elif not config.env.on_device:
            make_envs = partial(make_split_envs, leader=leader)
            loop = HostLoop(config, mesh=backend.mesh, make_envs=make_envs)
        stack.enter_context(contextlib.closing(loop))
        yield loop, tracker, used


def _split(
    config: RunConfig, backend: layout.Backend, leader: Leader | None
) -> SplitDeviceLoop:
    """The loop of one run, in process 0 or in another one."""
    if backend.mesh is None:
        raise RuntimeError("a mesh of several processes has several devices")
    env = make_device_env(config.env)
    return SplitDeviceLoop(config, env, backend.mesh, leader)


def _part(
    config: RunConfig, recorded: Mapping[str, Any] | None, processes: Processes
) -> tuple[DeviceMembers | HostMembers, Accelerator]:
    """The members of this process, and its accelerator."""
    part = parts_of(config.num_members, processes.count)[processes.index]
    use_only(processes.local_devices)
    backend = layout.start(config, recorded)
    used = replace(backend.accelerator, processes=processes.count)
    if not config.env.on_device:
        return HostMembers(config, part), used
    env = make_device_env(config.env)
    return DeviceMembers(config, env, backend.mesh, part), used


@in_32_bits()
def follow(
    processes: Processes, config: RunConfig | None, reporter: Reporter
) -> dict[str, Any]:
    """The result of a process other than process 0: it computes what that commands.

    Raises a PgcliError if the run has failed, or was stopped by a signal.
    """
    with stop_on_signal(reporter) as stop, ExitStack() as stack:
        link = join(processes, config, reporter, stop)
        stop.follows = True
        stack.callback(link.close)

        def prepare(config: RunConfig, data: Mapping[str, Any]) -> Commands:
            stack.enter_context(memory_errors())
            recorded = data["recorded"]
            # the same cases as in `leading_loop`
            if config.has_members:
                part, _ = _part(config, recorded, processes)
                stack.enter_context(contextlib.closing(part))
                return PartWorker(part, link.has_news).commands
            if not config.env.on_device:
                worker = EnvWorker(config, processes.index, processes.count)
                stack.enter_context(contextlib.closing(worker))
                return worker.commands
            port, own = data["port"], link.own_address
            stack.enter_context(collectives(processes, port, own))
            loop = _split(config, layout.start(config, recorded, processes.count), None)
            stack.enter_context(contextlib.closing(loop))
            return loop.commands

        obey(link, prepare, reporter, stop)
    return {"ok": True, "process": processes.index, "processes": processes.count}
