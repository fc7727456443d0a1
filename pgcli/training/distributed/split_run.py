"""The loop of a run on several processes, in process 0 and in the others."""

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from pgcli.config.load import to_mapping
from pgcli.config.schema import RunConfig
from pgcli.envs.make import make_device_env
from pgcli.training.backend import layout
from pgcli.training.backend.accelerator import Accelerator
from pgcli.training.backend.memory import memory_errors
from pgcli.training.backend.precision import in_32_bits
from pgcli.training.distributed.collectives import collectives
from pgcli.training.distributed.follow import Commands, join, obey
from pgcli.training.distributed.leader import Leader
from pgcli.training.distributed.link import free_port
from pgcli.training.distributed.processes import Processes, check
from pgcli.training.distributed.split_device_loop import SplitDeviceLoop
from pgcli.training.loops.base import Loop
from pgcli.training.reporter import Reporter
from pgcli.training.stop_signals import stop_on_signal


@contextmanager
def leading_loop(
    config: RunConfig, recorded: Mapping[str, Any] | None, leader: Leader
) -> Iterator[tuple[Loop, Accelerator]]:
    """Yields the loop of process 0, and its accelerator; closes it at the end.

    Args:
      config: configuration of the run.
      recorded: recorded fingerprint of the accelerator, for a resumed run.
      leader: connections to the other processes.
    """
    check(config, leader.count)
    port, own = free_port(leader.own_address), leader.own_address
    start = {"config": to_mapping(config), "recorded": recorded, "port": port}
    with ExitStack() as stack:
        with leader.together("prepare", **start):
            stack.enter_context(collectives(leader.processes, port, own))
            backend = layout.start(config, recorded, leader.count)
            loop = _split_loop(config, backend, leader)
            stack.enter_context(contextlib.closing(loop))
        yield loop, backend.accelerator


def _split_loop(
    config: RunConfig, backend: layout.Backend, leader: Leader | None
) -> SplitDeviceLoop:
    if backend.mesh is None:
        raise RuntimeError("a mesh of several processes has several devices")
    env = make_device_env(config.env)
    return SplitDeviceLoop(config, env, backend.mesh, leader)


@in_32_bits()
def follow(
    processes: Processes, config: RunConfig | None, reporter: Reporter
) -> dict[str, Any]:
    """The result of a process other than process 0: it computes what that commands.

    Args:
      processes: the processes of the run.
      config: configuration that this process was started with; None for that of the
        run that process 0 resumes.
      reporter: receiver of reports.

    Raises:
      PgcliError: the run has failed, or was stopped by a signal.
    """
    with stop_on_signal(reporter) as stop, ExitStack() as stack:
        link = join(processes, config, reporter, stop)
        stack.callback(link.close)

        def prepare(config: RunConfig, data: Mapping[str, Any]) -> Commands:
            stack.enter_context(memory_errors())
            port, own = data["port"], link.own_address
            stack.enter_context(collectives(processes, port, own))
            backend = layout.start(config, data["recorded"], processes.count)
            loop = _split_loop(config, backend, None)
            stack.enter_context(contextlib.closing(loop))
            return loop.commands

        obey(link, prepare, reporter, stop)
    return {"ok": True, "process": processes.index, "processes": processes.count}
