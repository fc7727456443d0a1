"""Workers as the tasks of a Ray cluster."""

import contextlib
import importlib.util
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pgcli.errors import LockedError, UsageError
from pgcli.extras import pip_install
from pgcli.storage.lock import locked
from pgcli.sweep.directory import SweepDirectory
from pgcli.sweep.launchers import local
from pgcli.sweep.launchers.base import ENDS_SECONDS, Launch, Workers, worker_command

POLL_SECONDS = 0.2
CONNECT_SECONDS = 5.0
PREALLOCATED = 0.75
"""Share of an accelerator's memory that JAX takes."""

FRACTION = "XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION"
"""Variables of that share, the second of older versions; JAX refuses both together."""

PASSED_ON = ("JAX_", "XLA_", "PGCLI_")
"""Prefixes of the environment variables that workers get from the parent."""


def worker_environ(gpus: float) -> dict[str, str]:
    """Environment variables of a worker that has `gpus` GPUs, or a fraction of one."""
    passed = {k: v for k, v in os.environ.items() if k.startswith(PASSED_ON)}
    if 0 < gpus < 1 and passed.keys().isdisjoint(FRACTION):
        passed[FRACTION[0]] = f"{PREALLOCATED * gpus:.2f}"
    return passed


def connect(cpus: int, gpus: float) -> tuple[Launch, int]:
    """Connects to the cluster of `RAY_ADDRESS` or of this machine, else starts one.

    Must be called before signals are handled: Ray sets a handler of SIGTERM. Returns
    the launcher, and the number of workers of that size that fit. Raises a UsageError
    if Ray cannot be reached, or no node is large enough.
    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError(
            "the launcher `ray` needs Ray, which is not installed",
            help=pip_install("ray"),
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    check_address(os.environ.get("RAY_ADDRESS", ""))
    try:
        ray.init(log_to_driver=False, logging_level="ERROR", ignore_reinit_error=True)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"cannot connect to Ray: {str(error).strip().splitlines()[0]}",
            where=os.environ.get("RAY_ADDRESS"),
            help="`ray status` shows whether the cluster of RAY_ADDRESS runs",
        ) from None
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = [
        int(min(node.get("CPU", 0) / cpus, node.get("GPU", 0) / gpus if gpus else 1e9))
        for node in nodes
    ]
    if not sum(room):
        most = {key: max(node.get(key, 0) for node in nodes) for key in ("CPU", "GPU")}
        raise UsageError(
            f"a worker needs {cpus} cores and {gpus:g} accelerators; the nodes of the "
            f"Ray cluster have up to {most['CPU']:g} and {most['GPU']:g}",
            help="lower --cpus-per-trial or --gpus-per-trial",
        )
    return partial(RayWorkers, cpus=cpus, gpus=gpus), sum(room)


def check_address(address: str) -> None:
    """Raises a UsageError if no cluster listens; Ray would take minutes to notice."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # `auto`, `local`
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise UsageError(
            f"no Ray cluster listens there: {error.strerror or error}",
            where=f"RAY_ADDRESS={address}",
            help="`ray start --head` starts one; without RAY_ADDRESS, one is started "
            "for the sweep",
        ) from None


class RayWorkers(Workers):
    """Tasks of Ray, each with the cores and accelerators of a trial.

    Ray starts the task of a lost node again on another one.
    """

    def __init__(
        self, directory: SweepDirectory, count: int, *, cpus: int, gpus: float
    ) -> None:
        super().__init__(directory, count)
        import ray

        self._cpus, self._gpus = cpus, gpus
        self._task = ray.remote(_work).options(
            num_cpus=cpus, num_gpus=gpus, max_retries=-1
        )

    def _start(self, slot: int) -> Any:
        path = str(self._directory.path.resolve())
        log = str(Path(self.log(slot)).resolve())
        passed = worker_environ(self._gpus)
        return self._task.remote(path, log, self._cpus, passed)

    def _code(self, worker: Any) -> int | None:
        import ray

        ready, _ = ray.wait([worker], timeout=0)
        if not ready:
            return None
        try:
            return int(ray.get(worker))
        except ray.exceptions.RayError as error:
            slot = next(s for s, w in self._running.items() if w is worker)
            with open(self.log(slot), "a") as file:
                file.write(f"{error}\n")
            return 1

    def stop(self) -> None:
        """See `Workers.stop`."""
        import ray

        tasks = list(self._running.values())
        for task in tasks:
            ray.cancel(task)
        if tasks:
            ray.wait(tasks, num_returns=len(tasks), timeout=ENDS_SECONDS + 5)
        ray.shutdown()


def _work(path: str, log: str, cpus: int, environ: dict[str, str]) -> int:
    """A worker of the sweep in `path`, in a process of its own; its exit code."""
    os.environ.update(environ)
    with free_cores(cpus) as cores:
        process = local.start(worker_command(path, os.getpid()), log, cores)
        try:
            while process.poll() is None:
                time.sleep(POLL_SECONDS)  # a cancelled task is interrupted here
        except KeyboardInterrupt:
            local.end(process)
        return int(process.wait())


@contextlib.contextmanager
def free_cores(count: int) -> Iterator[set[int]]:
    """Cores of this machine that no other worker of Ray has; any if there are none."""
    groups = local.shares(
        every := sorted(os.sched_getaffinity(0)), max(1, len(every) // count)
    )
    folder = Path(tempfile.gettempdir(), f"pgcli-cores-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        for cores in groups:
            with contextlib.suppress(LockedError):
                stack.enter_context(locked(folder / f"{min(cores)}-{max(cores)}"))
                break
        else:
            cores = groups[os.getpid() % len(groups)]
        yield cores
