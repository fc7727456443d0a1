"""Child processes, each of which steps a share of the environments."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from pgcli.envs import obs_trees
from pgcli.envs.base import EnvSpec, HostSlot
from pgcli.envs.failures import from_data
from pgcli.envs.host.env_factory import EnvFactory
from pgcli.envs.obs_trees import copy_obs, set_rows
from pgcli.envs.spaces import spec_from_json, spec_to_json
from pgcli.envs.waiting import Waits
from pgcli.envs.workers import messages
from pgcli.envs.workers.child_process import CLOSE_SECONDS, ChildProcess
from pgcli.envs.workers.shared_memory import Block, unnamed_file
from pgcli.errors import EnvironmentFailed

START_SECONDS = 60.0
"""Minimum time for a worker to import and make its environments."""

Raises = tuple[type[Exception], ...]
"""Exceptions of another process that are raised as themselves."""

LATE_HELP = "raise host.timeout if a step may take so long"


class Workers:
    """Child processes that share one block of arrays: a `Helper`."""

    def __init__(
        self, factory: EnvFactory, seeds: list[int], shares: list[range], timeout: float
    ) -> None:
        """Starts the processes, each with its share of rows; see `attach`."""
        self._count = len(shares)
        self._env_id, self._timeout = factory.id, timeout
        self._seeds = seeds
        self._rows = slice(shares[0].start, shares[-1].stop)
        self._steps = 0
        self._broken = self._busy = False
        self._waits = Waits(self)
        # the file is mapped when the spaces are known (`attach`)
        self._memory = unnamed_file("pgcli-lanes")
        self._processes = [ChildProcess(self._memory, share) for share in shares]
        self._waited = self._processes[0]
        # all processes make their environments at the same time
        text = factory.to_text()
        for process in self._processes:
            own = [seeds[n] for n in process.rows]
            self._send(process, "make", text, own, process.rows.start)

    def attach(self, spec: EnvSpec | None, num_envs: int) -> EnvSpec:
        """The specification, once every process has made its environments.

        Raises an EnvironmentFailed if making one failed, or its spaces differ from
        `spec`.
        """
        # specifications are compared as JSON
        seconds = max(self._timeout, START_SECONDS)
        answers = [self._answer(process, seconds) for process in self._processes]
        if spec is None:
            spec = spec_from_json(answers[0])
        expected = json.loads(json.dumps(spec_to_json(spec)))
        for process, answer in zip(self._processes, answers, strict=True):
            if answer != expected:
                raise self._failure(
                    f"the spaces of environment {process.rows.start} are not those of "
                    "environment 0",
                    process.rows.start,
                )
        # the shared arrays, and views of the workers' rows
        self._block = Block(self._memory, spec, num_envs, self._count)
        views: list[Any] = [
            None if field is None else obs_trees.rows(field, self._rows)
            for field in self._block.slot
        ]
        self._views = HostSlot(*views)
        for index, process in enumerate(self._processes):
            self._send(process, "attach", num_envs, self._count, index)
            self._answer(process, seconds)
        return spec

    def reset(self, obs: Any) -> Callable[[], None]:
        """See `Helper.reset`."""
        self._post(messages.RESET)
        return partial(self._end_reset, obs)

    def _end_reset(self, obs: Any) -> None:
        self._wait()
        set_rows(obs, self._rows, self._views.obs)

    def step(
        self, action: Any, slot: HostSlot, active: np.ndarray | None
    ) -> Callable[[], list[tuple[int, Any]]]:
        """See `Helper.step`."""
        set_rows(self._block.action, ..., action)
        self._block.counts_lives[0] = slot.life_lost is not None
        if active is None:
            self._post(messages.STEP)
        else:
            self._block.active[...] = active
            self._post(messages.STEP_ACTIVE)
        return partial(self._end_step, slot, active)

    def _end_step(
        self, slot: HostSlot, active: np.ndarray | None
    ) -> list[tuple[int, Any]]:
        # copy the results of the workers' rows from the shared arrays
        with_finals = self._wait()
        self._steps += 1
        rows = self._rows
        mask = None if active is None else active[rows]
        _copy(slot.obs, self._views.obs, rows, mask)
        for target, source in zip(slot[1:5], self._views[1:5], strict=True):
            _copy(target, source, rows, mask)
        if slot.life_lost is not None:
            _copy(slot.life_lost, self._block.life_lost[rows], rows, mask)
        # final observations, from the processes that have any
        block = self._block
        return [
            (n, copy_obs(obs_trees.rows(block.final_obs, n)))
            for process in with_finals
            for n in process.rows
            if block.has_final[n]
        ]

    def call(
        self, method: str, arguments: list[list[Any]], raises: Raises = ()
    ) -> list[Any]:
        """See `Helper.call`; tuples become lists in both directions."""
        # all processes work at the same time
        for process, own in zip(self._processes, arguments, strict=True):
            self._send(process, method, *own)
        seconds = max(self._timeout, START_SECONDS)
        return [self._answer(process, seconds, raises) for process in self._processes]

    @property
    def shares(self) -> list[range]:
        """See `Helper.shares`."""
        return [process.rows for process in self._processes]

    def close(self) -> None:
        """Ends the processes; those that may hang are killed."""
        # close or kill all of them before waiting for any
        for process in self._processes:
            process.channel.close()
            if self._broken or self._busy:
                process.process.kill()
        for process in self._processes:
            process.closed()
        with contextlib.suppress(OSError):
            os.close(self._memory)

    def _usable(self) -> None:
        """Raises if an earlier message failed or has had no reply."""
        if self._broken or self._busy:
            raise self._failure(
                "the workers cannot continue after a failure", self._rows.start
            )

    def _post(self, kind: bytes) -> None:
        self._usable()
        self._busy = True
        for process in self._processes:
            try:
                process.channel.post(kind)
            except messages.ClosedError:
                raise self._died(process) from None

    def _send(self, process: ChildProcess, method: str, *arguments: Any) -> None:
        self._usable()
        try:
            process.channel.send(messages.CALL, [method, arguments], self._timeout)
        except messages.ClosedError:
            raise self._died(process) from None
        except messages.LateError:
            raise self._late(process, self._timeout) from None

    def _wait(self) -> list[ChildProcess]:
        """Waits for all processes; returns those that have final observations."""
        with_finals = []
        for process in self._processes:
            kind, _ = self._receive(process, self._timeout)
            if kind == messages.DONE_WITH_FINALS:
                with_finals.append(process)
        self._busy = False
        return with_finals

    def _answer(
        self, process: ChildProcess, seconds: float, raises: Raises = ()
    ) -> Any:
        return self._receive(process, seconds, raises)[1]

    def _receive(
        self, process: ChildProcess, seconds: float, raises: Raises = ()
    ) -> tuple[bytes, Any]:
        self._waited = process
        try:
            with self._waits:
                kind, data = process.channel.receive(seconds)
        except messages.ClosedError:
            raise self._died(process) from None
        # a process may have died without closing its end
        except messages.LateError:
            if process.process.poll() is not None:
                raise self._died(process) from None
            raise self._late(process, seconds) from None
        if kind == messages.FAILED:
            # an exception that the caller expects, else an error with the traceback
            self._broken = True
            name, text = data["raised"]
            for known in raises:
                if known.__name__ == name:
                    raise known(text)
            raise from_data(data)
        return kind, data

    def whereabouts(self) -> str:
        """See `Waited.whereabouts`."""
        n = self._at(self._waited)
        seed = self._seeds[n]
        return f"step {self._steps} of environment {n} ({self._env_id}, seed {seed})"

    def progress(self) -> object:
        """See `Waited.progress`."""
        return self._steps, self._at(self._waited)

    def _at(self, process: ChildProcess) -> int:
        """The environment that a process is making, resetting or stepping."""
        if not hasattr(self, "_block"):
            return process.rows.start
        return int(self._block.now[self._processes.index(process)])

    def _died(self, process: ChildProcess) -> EnvironmentFailed:
        # the reason in words: exit code or signal
        try:
            code = process.process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            how = "closed its connection"
        else:
            how = f"exited with code {code}"
            if code < 0:
                how = f"was killed by {signal.Signals(-code).name}"
        n = self._at(process)
        return self._failure(
            f"environment {n} failed at its step {self._steps}: its worker {how}",
            n,
            trace=process.trace(ask=False),
        )

    def _late(self, process: ChildProcess, seconds: float) -> EnvironmentFailed:
        n = self._at(process)
        return self._failure(
            f"environment {n} failed at its step {self._steps}: no answer in "
            f"{seconds:g} s",
            n,
            help=LATE_HELP,
            trace=process.trace(ask=True),
        )

    def _failure(self, message: str, n: int, **more: Any) -> EnvironmentFailed:
        self._broken = True
        where = f"environment {self._env_id}, seed {self._seeds[n]}"
        return EnvironmentFailed(message, where=where, **more)


def _copy(target: Any, source: Any, rows: slice, mask: np.ndarray | None) -> None:
    """Copies rows of shared arrays into those of the caller; only those of a mask."""
    if mask is None:
        set_rows(target, rows, source)
    else:
        set_rows(obs_trees.rows(target, rows), mask, obs_trees.rows(source, mask))
