"""The processes of a run: from flags, or from the environment of a cluster."""

import re
from dataclasses import dataclass

from pgcli import versions
from pgcli.config.layout import default_shards
from pgcli.config.schema import RunConfig
from pgcli.errors import UsageError

EXAMPLE = "--coordinator 10.0.0.5:7777 --process 0/2 on the first of two machines"


@dataclass(frozen=True)
class Processes:
    """This process (number `index`) and the others of a run.

    Attributes:
      host: name or address of the machine of process 0.
      port: TCP port on which it waits for the others.
      local_devices: indices of the accelerators for this process; None for all.
    """

    host: str
    port: int
    index: int
    count: int
    local_devices: tuple[int, ...] | None = None

    @property
    def address(self) -> str:
        """Address of process 0 as text."""
        return address(self.host, self.port)


def address(host: str, port: int) -> str:
    """`HOST:PORT`; an IPv6 address is in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def from_flags(
    distributed: str | None, coordinator: str | None, process: str | None
) -> Processes | None:
    """The processes of a run by the values of the flags; None if it has only this one.

    Raises a UsageError for a wrong value, or if no cluster is detected.
    """
    if distributed is not None:
        if distributed != "auto":
            raise UsageError(
                f"`--distributed {distributed}`: expected auto", help=EXAMPLE
            )
        if coordinator is not None or process is not None:
            raise UsageError(
                "`--distributed auto` detects what `--coordinator` and `--process` "
                "give: use either"
            )
        found = detected()
    elif coordinator is None and process is None:
        return None
    elif coordinator is None or process is None:
        given, missing = "--process", "--coordinator HOST:PORT"
        if process is None:
            given, missing = "--coordinator", "--process I/N"
        raise UsageError(f"`{given}` needs `{missing}`", help=EXAMPLE)
    else:
        found = Processes(*_endpoint(coordinator), *_part(process))
    return found if found.count > 1 else None


def check(config: RunConfig, count: int) -> None:
    """Raises a UsageError if a run cannot be split over `count` processes."""
    # members: at least one for each process
    if config.has_members:
        if count > config.num_members:
            raise UsageError(
                f"{count} processes are more than the {config.num_members} members",
                help="start one process per member at most",
            )
        return
    # host environments: at least one for each process
    if not config.env.on_device:
        if count > config.env.num_envs:
            raise UsageError(
                f"{count} processes are more than the {config.env.num_envs} "
                "environments (env.num_envs)",
                help="start one process per environment at most",
            )
        return
    if config.algo.collects == "episodes":
        raise UsageError(
            f"{config.algo.name} learns from whole episodes: one run of it cannot be "
            "split over processes",
            help="use another algorithm, or share out several seeds (--seeds N)",
        )
    # one run on devices: the same number of rows for each process
    rows = config.parallel.shards or default_shards(config)
    if rows % count:
        raise UsageError(
            f"the batch has {rows} rows (parallel.shards), which do not split evenly "
            f"over {count} processes",
            help="choose a number of processes that divides it, or --set "
            f"parallel.shards={count} if that divides env.num_envs",
        )


def _endpoint(text: str) -> tuple[str, int]:
    """(host, port) of `--coordinator`."""
    host, colon, port = text.rpartition(":")
    if not colon or not host.strip("[]") or not re.fullmatch(r"[0-9]{1,5}", port):
        raise UsageError(f"`--coordinator {text}`: expected HOST:PORT", help=EXAMPLE)
    if not 0 < int(port) < 2**16:
        raise UsageError(f"`--coordinator {text}`: a port is from 1 to 65535")
    return host.strip("[]"), int(port)


def _part(text: str) -> tuple[int, int]:
    """(index, count) of `--process`."""
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if match is None:
        raise UsageError(f"`--process {text}`: expected I/N", help=EXAMPLE)
    index, count = int(match[1]), int(match[2])
    if index >= count:
        raise UsageError(
            f"`--process {text}`: processes are numbered from 0",
            help="those of two are 0/2 and 1/2" if count <= 2 else None,
        )
    return index, count


def detected() -> Processes:
    """The processes of the cluster that has started this one, or a UsageError."""
    found = versions.detect_cluster()
    if found is None:
        raise UsageError(
            "`--distributed auto`: no cluster was detected (Slurm, Open MPI, "
            "Kubernetes or TPU)",
            help="start it by srun or mpirun, or use --coordinator HOST:PORT --process "
            "I/N",
        )
    coordinator, count, index, local = found
    return Processes(*_endpoint(coordinator), index, count, local)
