"""The other processes of a run: they join process 0 and obey its commands."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from pgcli.config.load import from_mapping
from pgcli.config.schema import RunConfig
from pgcli.envs.waiting import Abandoned
from pgcli.errors import ExitCode, UsageError
from pgcli.training.distributed.greeting import JOIN_SECONDS, describe, hello, to_error
from pgcli.training.distributed.link import (
    GRACE_SECONDS,
    Link,
    ProcessLostError,
    read_message,
    write_message,
)
from pgcli.training.distributed.processes import Processes
from pgcli.training.reporter import Reporter
from pgcli.training.stop_signals import Interrupted, StopFlag

_RETRY_SECONDS = 0.3
_POLL_SECONDS = 0.1


Commands = Mapping[str, Callable[..., Mapping[str, Any] | None]]
"""Functions of the data of a command, by its name; their results are the reply."""

Prepare = Callable[[RunConfig, Mapping[str, Any]], Commands]
"""(configuration, data of the command `prepare`) -> the other commands."""


def join(
    processes: Processes, config: RunConfig | None, reporter: Reporter, stop: StopFlag
) -> Link:
    """A connection to process 0, which has accepted this process, or its refusal.

    `config` is the one that this process was started with; None for any.

    Raises:
      ProcessLostError: process 0 does not answer.
      Interrupted: a signal requested a stop.
    """
    reporter.note(
        f"process {processes.index} of {processes.count}: joins {processes.address}"
    )
    end, reason = time.monotonic() + JOIN_SECONDS, ""
    while time.monotonic() < end:
        if stop.code is not None:
            raise stop.interrupted()
        try:
            sock = socket.create_connection((processes.host, processes.port), 5.0)
        except socket.gaierror as error:
            raise UsageError(
                f"{processes.host} is not the name of a machine: {error.strerror}"
            ) from None
        except OSError as error:
            # process 0 may start later than this one
            reason = error.strerror or str(error)
            time.sleep(_RETRY_SECONDS)
            continue
        try:
            # the answer to a greeting is `welcome` or `refused`
            write_message(sock, "hello", **hello(processes, config))
            kind, data = read_message(sock)
        except (OSError, ValueError) as error:
            sock.close()
            reason = f"{processes.address} does not answer as pgcli does ({error})"
            time.sleep(_RETRY_SECONDS)
            continue
        if kind == "refused":
            sock.close()
            raise to_error(data)
        return Link(sock, f"process 0 ({processes.address})")
    raise ProcessLostError(
        f"process 0 did not answer at {processes.address} within {JOIN_SECONDS:g} s: "
        f"{reason}",
        help="start process 0 too, and check HOST and PORT of --coordinator, and the "
        "firewall",
    )


def obey(link: Link, prepare: Prepare, reporter: Reporter, stop: StopFlag) -> None:
    """Computes what process 0 commands, until the run has its result.

    Raises:
      Interrupted: the run was stopped by a signal.
      ProcessLostError: process 0 is lost.
      PgcliError: the run has failed.
    """
    over, busy = threading.Event(), threading.Event()

    def watch() -> None:
        sent = False
        while not over.wait(_POLL_SECONDS):
            # process 0 stops the run
            if stop.requested is not None and not sent:
                sent = True
                with contextlib.suppress(ProcessLostError):
                    link.send("signal", code=int(stop.requested))
            # this process waits for a computation with a lost one
            if busy.is_set() and link.lost_seconds > GRACE_SECONDS:
                reporter.abandon(link.error())
                return

    threading.Thread(target=watch, daemon=True).start()
    commands: Commands = {}
    try:
        while True:
            # the next command
            kind, data = link.receive()
            if kind == "end":
                return _end(data)
            number = data.pop("number", 0)
            busy.set()
            try:
                if kind == "prepare":
                    config = from_mapping(data.pop("config"), source="process 0")
                    commands, reply = prepare(config, data), {}
                else:
                    reply = dict(commands[kind](**data) or {})
            except (Exception, Abandoned) as error:
                # process 0 ends the run; if it is lost, that is the explanation
                with contextlib.suppress(ProcessLostError):
                    link.send("failed", number=number, **describe(error))
            else:
                link.send("done", number=number, **reply)
            finally:
                busy.clear()
    finally:
        over.set()


def _end(data: Mapping[str, Any]) -> None:
    """Returns if the run has its result, else raises the error that ended it."""
    code = int(data["exit_code"])
    if code in (ExitCode.INTERRUPTED, ExitCode.TERMINATED):
        raise Interrupted(ExitCode(code), {}, None, "process 0 has saved the run")
    if code:
        raise to_error(data, "process 0 has ended the run: ")
