"""The start of JAX on all processes, so that one program spans their devices.

JAX's coordination service runs in a process of its own. Inside process 0 it would end
the other processes by an abort as soon as process 0 is killed; so they have the time to
notice the loss, to report it and to exit.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

from pgcli import versions
from pgcli.errors import AcceleratorError
from pgcli.training.distributed.processes import Processes, address
from pgcli.versions import set_jax

START_SECONDS = 60
"""Time limit for all processes to connect to the service."""

HEARTBEAT_SECONDS = 100
"""Time after which JAX notices a lost process, if the links have not long before."""

LINGER_SECONDS = 15
"""Time for which the service outlives process 0, so that the others can exit."""

_SERVICE = """
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
from jaxlib import _jax
where, count, heartbeat, linger = sys.argv[1:]
service = _jax.get_distributed_runtime_service(
    where, int(count), heartbeat_timeout=int(heartbeat)
)
print("ready", flush=True)
sys.stdin.read()
time.sleep(int(linger))
os._exit(0)
"""


class _Service:
    """JAX's coordination service in a process of its own, which outlives this one."""

    def __init__(self, where: str, count: int, **_: Any) -> None:
        numbers = (count, HEARTBEAT_SECONDS, LINGER_SECONDS)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVICE, where, *map(str, numbers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if self._process.stdout is None or not self._process.stdout.readline():
            raise RuntimeError(f"the service at {where} did not start")


@contextmanager
def collectives(processes: Processes, port: int, own_address: str) -> Iterator[None]:
    """A block, entered by all processes, in which `jax.devices()` are those of all.

    `port` is free in process 0, and `own_address` is that of this machine for the
    others. Raises an AcceleratorError if JAX cannot connect.
    """
    set_jax("jax_enable_preemption_service", False)  # it takes SIGTERM
    with versions.jax_distributed(_Service, own_address):
        try:
            _initialize(processes, port)
            yield
        finally:
            versions.abandon_jax_distributed()


@contextmanager
def muted_stdout() -> Iterator[None]:
    """Discards what native code writes to stdout inside the block.

    Gloo writes a line when the first collective connects the processes.
    """
    with contextlib.ExitStack() as stack:
        try:
            saved, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        except OSError:  # closed: nothing to discard
            yield
            return
        # callbacks run in reverse: stdout is restored, then the copies are closed
        for descriptor in (saved, nowhere):
            stack.callback(os.close, descriptor)
        stack.callback(os.dup2, saved, 1)
        os.dup2(nowhere, 1)
        yield


def use_only(local_devices: tuple[int, ...] | None) -> None:
    """Hides all other accelerators of this machine; None hides none."""
    if local_devices is not None:
        for kind in ("cuda", "rocm"):
            set_jax(f"jax_{kind}_visible_devices", ",".join(map(str, local_devices)))


def _initialize(processes: Processes, port: int) -> None:
    local = processes.local_devices
    try:
        jax.distributed.initialize(
            address(processes.host, port),
            processes.count,
            processes.index,
            local_device_ids=None if local is None else list(local),
            cluster_detection_method="deactivate",
            initialization_timeout=START_SECONDS,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise AcceleratorError(
            f"JAX cannot connect the processes of the run: {reason}",
            help=f"process 0 uses port {port} too: check the firewall",
        ) from None
