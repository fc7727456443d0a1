"""Process 0 of a run: it waits for the others, and sends them commands."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pgcli.config.schema import RunConfig
from pgcli.envs.waiting import Abandoned
from pgcli.errors import ExitCode, PgcliError, UsageError
from pgcli.training.distributed.greeting import (
    HELLO_SECONDS,
    JOIN_SECONDS,
    MAX_HELLO,
    describe,
    listen,
    refusal,
    to_error,
)
from pgcli.training.distributed.link import (
    GRACE_SECONDS,
    Link,
    ProcessLostError,
    read_message,
    write_message,
)
from pgcli.training.distributed.processes import Processes
from pgcli.training.reporter import Reporter
from pgcli.training.stop_signals import StopFlag

NOT_PGCLI = (
    OSError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    RecursionError,
)
"""Errors of messages that are none of pgcli's; such a connection is closed."""

SAY_SECONDS = 2.0
"""Time after which a warning names the processes that are missing."""

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
        """Listens for the others; a UsageError if the port is not free here.

        `config` is the one that all must have been started with; None for any.
        """
        self.processes, self._config = processes, config
        self._reporter, self._stop = reporter, stop
        self.links: dict[int, Link] = {}
        self._refusal: PgcliError | None = None
        self._over = threading.Event()
        self._busy, self._number = False, 0
        self._server = listen(processes)
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
        # a refusal ends the run even if all have joined meanwhile
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
                # it may have failed because another process is lost
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

        They get `data`, and each its part of `each`. Yields a function that returns the
        reply of each; it is called in any case.
        """
        replies: list[dict[int, dict[str, Any]]] = []

        def receive() -> dict[int, dict[str, Any]]:
            replies.append(self.receive())
            return replies[0]

        # the others begin first, because a collective in the block waits for them
        self._send(kind, {i: {**data, **(each or {}).get(i, {})} for i in self.links})
        self._busy = True
        try:
            yield receive
            # the failure of another process is raised even if its reply is not needed
            if not replies:
                receive()
        except PgcliError:
            raise
        except Exception:
            # errors of JAX do not name the process that is lost
            self._wait_for_loss()
            raise
        finally:
            self._busy = False

    def end(self, error: BaseException | None) -> None:
        """Ends the other processes, with the error that ended the run, if one did."""
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
            except NOT_PGCLI:
                sock.close()

    def _greet(self, sock: socket.socket) -> None:
        sock.settimeout(HELLO_SECONDS)
        kind, hello = read_message(sock, MAX_HELLO)
        if kind != "hello":
            raise ValueError(kind)
        index = int(hello["process"])
        problem = refusal(hello, self.count, self._config)
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

    def _on_signal(self, code: int) -> None:
        """Stops the run as if this process had received the signal."""
        if self._stop.code is None:
            interrupted = code == ExitCode.INTERRUPTED
            os.kill(os.getpid(), signal.SIGINT if interrupted else signal.SIGTERM)


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
