"""How a process joins process 0, and is refused; errors as messages."""

import errno
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from pgcli import versions
from pgcli.config.dump import differences
from pgcli.config.load import from_mapping, to_mapping
from pgcli.config.schema import RunConfig
from pgcli.errors import ExitCode, PgcliError, UsageError
from pgcli.training.distributed.processes import Processes, address

JOIN_SECONDS = 120.0
"""Time that all processes have to join."""

HELLO_SECONDS = 5.0
"""Time that a connected process has to introduce itself."""

MAX_HELLO = 2**20
"""Largest message, in bytes, of a process that has not been accepted yet."""

ACCEPT_SECONDS = 0.1
"""Interval in which process 0 looks whether it should still accept others."""


def hello(processes: Processes, config: RunConfig | None) -> dict[str, Any]:
    """The first message of a process, with the configuration it was started with."""
    return {
        "process": processes.index,
        "processes": processes.count,
        "versions": dict(versions.recorded()),
        "config": None if config is None else to_mapping(config),
    }


def refusal(
    hello: Mapping[str, Any], expected: int, config: RunConfig | None
) -> PgcliError | None:
    """The reason why a process cannot take part, or None; `config` None accepts any."""
    index, count = int(hello["process"]), int(hello["processes"])
    if count != expected or not 0 <= index < count:
        return UsageError(
            f"process {index} was started as one of {count}, and process 0 as one "
            f"of {expected}",
            help="N of --process I/N must be the same for all",
        )
    # results depend on the versions
    ours, theirs = versions.recorded(), hello["versions"]
    differing = [
        f"{name} {theirs.get(name, 'missing')} there and {version} here"
        for name, version in ours.items()
        if theirs.get(name) != version
    ]
    if differing:
        return UsageError(
            f"process {index} has other versions than process 0: "
            + ", ".join(differing),
            help="install the same versions on all machines",
        )
    # `resume` takes the configuration from the run: its processes send none
    if (config is None) != (hello["config"] is None):
        return UsageError(
            f"process {index} was started with another command than process 0",
            help="start all with `pgcli train`, or all with `pgcli resume`",
        )
    if config is None or to_mapping(config) == hello["config"]:
        return None
    try:
        other = from_mapping(hello["config"], source=f"process {index}")
    except PgcliError as error:
        raise ValueError(error.message) from None
    keys = [
        f"{key} is {now} there and {before} here"
        for key, before, now in differences(config, other)
    ]
    return UsageError(
        f"process {index} was started with another configuration than process 0: "
        + "; ".join(keys[:5]),
        help="start all with the same options and files",
    )


def listen(processes: Processes) -> socket.socket:
    """A socket that waits for connections.

    Raises a UsageError if the address is not one of this machine, or is taken.
    """
    host, port = processes.host, processes.port
    with ExitStack() as unless_listening:
        try:
            family, kind, *_, where = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM
            )[0]
            server = socket.socket(family, kind)
            unless_listening.callback(server.close)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(where)
            server.listen(processes.count + 8)
        except OSError as error:
            raise _no_address(error, host, port) from None
        unless_listening.pop_all()
    server.settimeout(ACCEPT_SECONDS)
    return server


def _no_address(error: OSError, host: str, port: int) -> UsageError:
    where = address(host, port)
    if error.errno == errno.EADDRINUSE:
        return UsageError(
            f"port {port} of {host} is taken by another program or run",
            help="choose another port for --coordinator, the same on all machines",
        )
    if isinstance(error, socket.gaierror):
        return UsageError(f"{host} is not the name of a machine: {error.strerror}")
    reason = error.strerror or str(error)
    return UsageError(
        f"process 0 cannot listen at {where}: {reason}",
        help="the address of --coordinator must be one of the machine of process 0",
    )


def describe(error: BaseException) -> dict[str, Any]:
    """An error as plain data."""
    if isinstance(error, PgcliError):
        return {
            "exit_code": int(error.exit_code),
            "message": error.message,
            "where": error.where,
            "help": error.help,
        }
    return {"exit_code": 1, "message": f"{type(error).__name__}: {error}"}


def to_error(data: Mapping[str, Any], prefix: str = "") -> PgcliError:
    """The error of another process."""
    code = ExitCode(int(data.get("exit_code", 1)))
    kind = next((x for x in PgcliError.__subclasses__() if x.exit_code == code), None)
    message = prefix + str(data.get("message", "it has failed"))
    where, help = data.get("where"), data.get("help")
    try:
        error = (kind or PgcliError)(message, where=where, help=help)
    except TypeError:  # a class with other arguments
        error = PgcliError(message, where=where, help=help)
    error.exit_code = code
    return error
