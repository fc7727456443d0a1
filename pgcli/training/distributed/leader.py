"""Process 0 of a run: it waits for the others, and sends them commands."""

import contextlib
import errno
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from pgcli import versions
from pgcli.config.dump import differences
from pgcli.config.load import from_mapping, to_mapping
from pgcli.config.schema import RunConfig
from pgcli.envs.waiting import Abandoned
from pgcli.errors import ExitCode, PgcliError, UsageError
from pgcli.training.distributed.link import (
    GRACE_SECONDS,
    MAX_HELLO,
    Link,
    ProcessLostError,
    read_message,
    write_message,
)
from pgcli.training.distributed.processes import Processes, address
from pgcli.training.reporter import Reporter
from pgcli.training.stop_signals import StopFlag

JOIN_SECONDS = 120.0
"""Time that all processes have to join."""

HELLO_SECONDS = 5.0
"""Time that a connected process has to introduce itself."""

SAY_SECONDS = 2.0
"""Time after which the user is told which processes are missing."""

_POLL_SECONDS = 0.1


class Leader:
    """The connections of process 0 to the other processes of its run."""

    def __init__(
        self,
        processes: Processes,
        config: RunConfig | None,
        reporter: Reporter,
        stop: StopFlag,
    ) -> None:
        """Listens for the others.

        Args:
          processes: the processes of the run.
          config: configuration that all must have been started with; None for any.
          reporter: receives a note on missing processes.
          stop: set by signals.

        Raises:
          UsageError: the port is taken, or is that of another machine.
        """
        self.processes, self._config = processes, config
        self._reporter, self._stop = reporter, stop
        self.links: dict[int, Link] = {}
        self._refusal: PgcliError | None = None
        self._over = threading.Event()
        self._busy, self._number = False, 0
        self._server = _listen(processes)
        for job in (self._accept, self._watch):
            threading.Thread(target=job, daemon=True).start()

    @property
    def count(self) -> int:
        """Number of processes."""
        return self.processes.count

    @property
    def own_address(self) -> str:
        """Address of this machine that the others have found."""
        return str(self._server.getsockname()[0])

    def wait_for_all(self) -> None:
        """Returns when all processes have joined.

        Raises:
          UsageError: a process was started with other arguments.
          ProcessLostError: not all joined in time.
          Interrupted: a signal requested a stop.
        """
        start, said = time.monotonic(), False
        while (missing := set(range(1, self.count)) - self.links.keys()) or (
            self._refusal is not None
        ):
            if self._refusal is not None:
                raise self._refusal
            if self._stop.code is not None:
                raise self._stop.interrupted()
            waited = time.monotonic() - start
            names = ", ".join(map(str, sorted(missing)))
            if waited > SAY_SECONDS and not said:
                said = True
                self._reporter.note(
                    f"waiting for process {names} at {self.processes.address}"
                )
            if waited > JOIN_SECONDS:
                raise ProcessLostError(
                    f"{len(missing)} of {self.count} processes did not join within "
                    f"{JOIN_SECONDS:g} s: {names}",
                    where=f"{self.processes.address}; processes are numbered from 0",
                    help="start every process with the same --coordinator and N of "
                    "--process I/N, and check the firewall",
                )
            time.sleep(_POLL_SECONDS)

    def _send(self, kind: str, each: Mapping[int, Mapping[str, Any]]) -> None:
        """Sends a command to each process."""
        self._number += 1
        for index, data in each.items():
            link = self.links[index]
            try:
                link.send(kind, number=self._number, **data)
            except ProcessLostError:
                raise self._lost(link) from None

    def receive(self) -> dict[int, dict[str, Any]]:
        """The reply of each process to the last command, in the order of processes.

        Raises:
          ProcessLostError: a process is lost.
          PgcliError: a process has failed.
        """
        replies = {}
        for index, link in sorted(self.links.items()):
            kind, data = link.receive(self._raise_lost)
            while data.get("number") != self._number:  # of a command that was given up
                kind, data = link.receive(self._raise_lost)
            if kind == "failed":
                if self._stop.code is not None:  # a signal to all ended it
                    raise Abandoned
                if data["exit_code"] == ExitCode.UNEXPECTED:
                    self._wait_for_loss()
                raise to_error(data, f"process {index}: ")
            replies[index] = data
        return replies

    @contextmanager
    def together(
        self,
        kind: str,
        each: Mapping[int, Mapping[str, Any]] | None = None,
        **data: Any,
    ) -> Iterator[Callable[[], dict[int, dict[str, Any]]]]:
        """A block that all processes compute; it begins with a command to the others.

        Args:
          kind: the command.
          each: data for each process, in addition to `data`.
          **data: data for all.

        Yields:
          a function that returns the reply of each; it is called in any case.
        """
        replies: list[dict[int, dict[str, Any]]] = []

        def receive() -> dict[int, dict[str, Any]]:
            replies.append(self.receive())
            return replies[0]

        self._send(kind, {i: {**data, **(each or {}).get(i, {})} for i in self.links})
        self._busy = True
        try:
            yield receive
            if not replies:
                receive()
        except PgcliError:
            raise
        except Exception:
            self._wait_for_loss()
            raise
        finally:
            self._busy = False

    def end(self, error: BaseException | None) -> None:
        """Ends the other processes, and closes the connections.

        Args:
          error: what ended the run; None for its result.
        """
        self._over.set()
        data = {"exit_code": 0} if error is None else describe(error)
        for link in self.links.values():
            with contextlib.suppress(ProcessLostError):
                link.send("end", **data)
        for link in self.links.values():
            link.close()
        self._server.close()

    def _wait_for_loss(self) -> None:
        """Raises the loss of a process, which may be why a computation has failed."""
        # the connection of a process that was killed closes within a moment
        end = time.monotonic() + GRACE_SECONDS / 2
        while time.monotonic() < end:
            self._raise_lost()
            time.sleep(_POLL_SECONDS)

    def _raise_lost(self) -> None:
        for link in self.links.values():
            if link.lost_seconds:
                raise self._lost(link)

    def _lost(self, link: Link) -> PgcliError:
        """The error for a lost process, which may have obeyed a signal to all."""
        if self._stop.requested is not None:
            return self._stop.interrupted(f"{link.name} has ended; ")
        return link.error()

    def _watch(self) -> None:
        """Ends this process if it waits for a computation with a lost one."""
        while not self._over.wait(_POLL_SECONDS):
            for link in list(self.links.values()):
                if self._busy and link.lost_seconds > GRACE_SECONDS:
                    self._reporter.abandon(self._lost(link))
                    return

    def _accept(self) -> None:
        """Accepts processes until the end, so that one too many gets an answer."""
        while not self._over.is_set():
            try:
                sock, _ = self._server.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            try:
                self._greet(sock)
            except (OSError, ValueError, KeyError, TypeError):
                sock.close()  # not a process of pgcli

    def _greet(self, sock: socket.socket) -> None:
        sock.settimeout(HELLO_SECONDS)
        kind, hello = read_message(sock, MAX_HELLO)
        if kind != "hello":
            raise ValueError(kind)
        index, count = int(hello["process"]), int(hello["processes"])
        problem = self._problem(index, count, hello)
        # a process too many does not affect the run
        again = problem is None and (index in self.links or not index)
        if again:
            problem = UsageError(
                f"process {index} of {self.processes.address} is running already",
                help="give every process its own I of --process I/N",
            )
        if problem is not None:
            write_message(sock, "refused", **describe(problem))
            sock.close()
            if not again and len(self.links) < self.count - 1:
                self._refusal = problem
            return
        write_message(sock, "welcome")
        self.links[index] = Link(sock, f"process {index}", self._on_signal)

    def _problem(
        self, index: int, count: int, hello: Mapping[str, Any]
    ) -> PgcliError | None:
        """The reason why a process cannot take part, or None."""
        if count != self.count or not 0 <= index < count:
            return UsageError(
                f"process {index} was started as one of {count}, and process 0 as one "
                f"of {self.count}",
                help="N of --process I/N must be the same for all",
            )
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
        if (self._config is None) != (hello["config"] is None):
            return UsageError(
                f"process {index} was started with another command than process 0",
                help="start all with `pgcli train`, or all with `pgcli resume`",
            )
        if self._config is None or to_mapping(self._config) == hello["config"]:
            return None
        other = from_mapping(hello["config"], source=f"process {index}")
        keys = [
            f"{key} is {now} there and {before} here"
            for key, before, now in differences(self._config, other)
        ]
        return UsageError(
            f"process {index} was started with another configuration than process 0: "
            + "; ".join(keys[:5]),
            help="start all with the same options and files",
        )

    def _on_signal(self, code: int) -> None:
        """Stops the run as if this process had received the signal."""
        if self._stop.code is None:
            interrupted = code == ExitCode.INTERRUPTED
            os.kill(os.getpid(), signal.SIGINT if interrupted else signal.SIGTERM)


def _listen(processes: Processes) -> socket.socket:
    """A socket that waits for connections.

    Raises:
      UsageError: the address is not one of this machine, or the port is taken.
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
    server.settimeout(_POLL_SECONDS)
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


@contextmanager
def leading(
    processes: Processes | None,
    config: RunConfig | None,
    reporter: Reporter,
    stop: StopFlag,
) -> Iterator[Leader | None]:
    """Yields the leader of a run once all have joined; ends them with the block.

    Arguments as of `Leader`; without `processes`, None is yielded.
    """
    if processes is None:
        yield None
        return
    leader, error = Leader(processes, config, reporter, stop), None
    try:
        leader.wait_for_all()
        yield leader
    except BaseException as failure:
        error = failure
        raise
    finally:
        leader.end(error)
