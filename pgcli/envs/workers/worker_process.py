"""A child process that steps some of the environments.

Started as `python -m pgcli.envs.workers.worker_process`.
It imports neither JAX nor the program that started it, so that it starts quickly.
"""

import ctypes
import faulthandler
import logging
import os
import signal
import sys
import warnings
from typing import Any

from pgcli.envs.failures import failed, text_of, to_data
from pgcli.envs.host.env_factory import EnvFactory
from pgcli.envs.host.in_process import InProcess
from pgcli.envs.obs_trees import set_rows
from pgcli.envs.spaces import spec_to_json
from pgcli.envs.workers import messages
from pgcli.envs.workers.shared_memory import Block

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_HANDLED_BY_PARENT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


def die_with(parent: int) -> None:
    """Lets the system kill this process when its parent dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # the parent may have died before that call
    if os.getppid() != parent:
        os._exit(1)


def settle(trace: int) -> None:
    """Ignores signals, which the parent handles, and enables tracebacks.

    After a crash and, on SIGUSR2, of a hang, the file `trace` contains one.
    """
    for number in _HANDLED_BY_PARENT:
        # not SIG_IGN, which child processes of the environment would inherit
        signal.signal(number, lambda *_: None)
    faulthandler.enable(trace, all_threads=False)
    faulthandler.register(signal.SIGUSR2, trace, all_threads=False)


class Worker:
    """Serves requests of the parent until it closes the channel."""

    def __init__(self, channel: messages.Channel, memory: int) -> None:
        self._channel = channel
        self._memory = memory
        self._env: InProcess | None = None
        self._block: Block | None = None
        self._rows = slice(0, 0)

    def serve(self) -> None:
        """Sends one reply per message; failures are sent as text."""
        while True:
            try:
                kind, data = self._channel.receive(None)
            except messages.ClosedError:
                break
            # an exception of an environment is sent; the parent decides what to do
            try:
                self._answer(kind, data)
            except messages.ClosedError:
                break
            except BaseException as error:
                failure = failed(
                    "a worker process failed", f"process {os.getpid()}", error
                )
                raised = [type(error).__name__, text_of(error)]
                reply = {**to_data(failure), "raised": raised}
                self._channel.send(messages.FAILED, reply)
        if self._env is not None:
            self._env.close()

    def _answer(self, kind: bytes, data: Any) -> None:
        # a method of this class or of the environments; else a reset or a step
        if kind == messages.CALL:
            name, arguments = data
            owner = self if hasattr(self, name) else self._env
            self._channel.send(messages.ANSWER, getattr(owner, name)(*arguments))
        elif kind == messages.RESET:
            env, block = self._ready()
            env.reset(block.slot.obs)
            self._channel.post(messages.DONE)
        else:
            self._channel.post(self._step(kind == messages.STEP_ACTIVE))

    def make(self, factory: str, seeds: list[int], first: int) -> dict[str, Any]:
        """Makes the environments; returns their specification."""
        self._env = InProcess.make(EnvFactory.from_text(factory), seeds, first)
        self._rows = slice(first, first + len(seeds))
        return spec_to_json(self._env.spec)

    def attach(self, num_envs: int, workers: int, index: int) -> None:
        """Maps the shared arrays."""
        if self._env is None:
            raise RuntimeError("no environments have been made")
        self._block = Block(self._memory, self._env.spec, num_envs, workers)
        self._env.now = self._block.now[index : index + 1]

    def _ready(self) -> tuple[InProcess, Block]:
        if self._env is None or self._block is None:
            raise RuntimeError("the environments are not attached")
        return self._env, self._block

    def _step(self, some: bool) -> bytes:
        # results go into the shared arrays
        env, block = self._ready()
        slot = block.slot
        if block.counts_lives[0]:
            slot = slot._replace(life_lost=block.life_lost)
        finals = env.step(block.action, slot, block.active if some else None)
        if not finals:
            return messages.DONE
        # and final observations, with the rows that have one
        block.has_final[self._rows] = False
        for n, obs in finals:
            set_rows(block.final_obs, n, obs)
            block.has_final[n] = True
        return messages.DONE_WITH_FINALS


def main(arguments: list[str]) -> None:
    """Serves until the parent closes the channel or dies.

    Args:
      arguments: descriptors of the pipes to read from and write to, of the shared
        memory and of the traceback file, and the process id of the parent.
    """
    *descriptors, parent = map(int, arguments)
    die_with(parent)
    # child processes of the environments must not inherit the descriptors
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    reads, writes, memory, trace = descriptors
    settle(trace)
    # the parent's own environments give the same warnings
    logging.disable(logging.WARNING)
    warnings.showwarning = lambda *_: None
    Worker(messages.Channel(reads, writes), memory).serve()


if __name__ == "__main__":
    main(sys.argv[1:])
