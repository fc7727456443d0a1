"""Environments split between this process and helpers: a thread or worker processes.

The calling process also steps a share, since it would otherwise only wait. The results
are byte for byte those of `InProcess`: every environment keeps its seed and its row.
"""

import queue
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, Literal, Protocol

import numpy as np

from pgcli.envs.base import EnvState, HostSlot
from pgcli.envs.host.env_factory import EnvFactory
from pgcli.envs.host.in_process import InProcess, other_count
from pgcli.envs.state.physics_engines import NotRestoredError
from pgcli.envs.waiting import Waits
from pgcli.envs.workers.child_process import CLOSE_SECONDS
from pgcli.envs.workers.pool import LATE_HELP, Raises, Workers
from pgcli.errors import CheckpointError

BUSY_SECONDS = 0.2
"""Time for a busy thread to finish when the environments are closed."""


class Helper(Protocol):
    """Steps the rows that the calling process does not step."""

    @property
    def shares(self) -> list[range]:
        """The rows of each of its lanes, in order and without gaps."""

    def reset(self, obs: Any) -> Callable[[], Any]:
        """Starts a reset; a call of the result waits until `obs` is written."""

    def step(
        self, action: Any, slot: HostSlot, active: np.ndarray | None
    ) -> Callable[[], list[tuple[int, Any]]]:
        """Starts a step; a call of the result waits and returns as `HostEnv.step`."""

    def call(
        self, method: str, arguments: list[list[Any]], raises: Raises = ()
    ) -> list[Any]:
        """The return values of a method, called for every share.

        Args:
          method: name of a method of `InProcess` or `Worker`.
          arguments: arguments for each share, as plain data: numbers, strings, lists,
            mappings, arrays. Return values must be plain data, too.
          raises: exceptions that are raised as themselves, not as failures.
        """

    def close(self) -> None:
        """Frees the environments."""


def _work(jobs: Any, results: Any) -> None:
    """Runs jobs until one is None. The result of each is (value, error)."""
    while (job := jobs.get()) is not None:
        try:
            results.put((job(), None))
        except BaseException as error:
            results.put((None, error))


class HelperThread:
    """Steps one share in a thread; faster if native code releases the GIL."""

    def __init__(self, env: InProcess, timeout: float) -> None:
        """Starts the thread; after `timeout` seconds a step is considered hung."""
        self._env = env
        self._timeout = timeout
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._busy = False
        self._waits = Waits(env)
        # a daemon, so that a hung step does not keep the program from exiting
        self._thread = threading.Thread(
            target=_work,
            args=(self._jobs, self._results),
            name="pgcli-lane",
            daemon=True,
        )
        self._thread.start()
        self._end = weakref.finalize(self, self._jobs.put, None)

    def reset(self, obs: Any) -> Callable[[], Any]:
        """See `Helper.reset`."""
        return self._begin(partial(self._env.reset, obs))

    def step(
        self, action: Any, slot: HostSlot, active: np.ndarray | None
    ) -> Callable[[], list[tuple[int, Any]]]:
        """See `Helper.step`."""
        return self._begin(partial(self._env.step, action, slot, active))

    @property
    def shares(self) -> list[range]:
        """See `Helper.shares`."""
        return [self._env.rows]

    def call(
        self, method: str, arguments: list[list[Any]], raises: Raises = ()
    ) -> list[Any]:
        """See `Helper.call`."""
        return [self._begin(partial(getattr(self._env, method), *arguments[0]))()]

    def close(self) -> None:
        """Closes the environments, unless the thread is still stepping one."""
        self._end()
        self._thread.join(BUSY_SECONDS if self._busy else CLOSE_SECONDS)
        if not self._thread.is_alive():
            self._env.close()

    def _begin(self, job: Callable[[], Any]) -> Callable[[], Any]:
        """Passes a job to the thread; a call of the result waits for its own."""
        if self._busy:
            raise self._env.failure("the helper thread cannot continue after a failure")
        self._busy = True
        self._jobs.put(job)
        return self._wait

    def _wait(self) -> Any:
        try:
            with self._waits:
                result, error = self._results.get(timeout=self._timeout)
        except queue.Empty:
            # the traceback of the thread shows where the step hangs
            raise self._env.failure(
                f"no answer in {self._timeout:g} s", help=LATE_HELP, trace=self._trace()
            ) from None
        self._busy = False
        if error is not None:
            raise error
        return result

    def _trace(self) -> str | None:
        frame = sys._current_frames().get(self._thread.ident or 0)
        return None if frame is None else "".join(traceback.format_stack(frame))


def split(num_envs: int, lanes: int) -> list[range]:
    """The rows of each lane, in order; their sizes differ by at most one."""
    ends = [num_envs * i // lanes for i in range(lanes + 1)]
    return [range(a, b) for a, b in pairwise(ends)]


class Lanes:
    """Environments split between this process and helpers, such as `1 worker`."""

    def __init__(
        self, own: InProcess, helper: Helper, seeds: list[int], helpers: str
    ) -> None:
        """Takes ownership of both; the rows of the helper follow those of `own`."""
        self.spec = own.spec
        self.num_envs = helper.shares[-1].stop
        self.seeds = seeds
        self.helpers = helpers
        self._own = own
        self._helper = helper

    @classmethod
    def make(
        cls,
        factory: EnvFactory,
        seeds: list[int],
        workers: int | Literal["thread"],
        timeout: float,
    ) -> "Lanes":
        """One environment per seed; raises as `factory`.

        `workers` are fewer than environments, or `thread` for one helper thread;
        `timeout` is the limit in seconds for a helper's step of its share.
        """
        # the first share is stepped in this process
        count = 1 if workers == "thread" else workers
        own_rows, *others = split(len(seeds), count + 1)
        # both shares of a thread are made here
        if workers == "thread":
            (other,) = others
            share = InProcess.make(factory, [seeds[n] for n in other], other.start)
            helper = HelperThread(share, timeout)
            own = InProcess.make(factory, [seeds[n] for n in own_rows])
            return cls(own, helper, seeds, "1 helper thread")
        # child processes make theirs while this process makes its own
        children = Workers(factory, seeds, others, timeout)
        try:
            own = InProcess.make(factory, [seeds[n] for n in own_rows])
            children.attach(own.spec, len(seeds))
        except BaseException:
            children.close()
            raise
        return cls(own, children, seeds, f"{count} worker{'s' if count > 1 else ''}")

    def reset(self, obs: Any) -> None:
        """Begins an episode in each environment; writes the observations into `obs`."""
        wait = self._helper.reset(obs)
        self._own.reset(obs)
        wait()

    def step(
        self, action: Any, slot: HostSlot, active: np.ndarray | None = None
    ) -> list[tuple[int, Any]]:
        """See `HostEnv.step`."""
        # the helper steps its rows while this process steps its own
        wait = self._helper.step(action, slot, active)
        finals = self._own.step(action, slot, active)
        return finals + wait()

    def gather(self, method: str) -> list[Any]:
        """Lists returned by a method of every share, joined in the order of rows."""
        others = self._helper.call(method, [[] for _ in self._helper.shares])
        own: list[Any] = getattr(self._own, method)()
        return own + [item for part in others for item in part]

    def scatter(self, method: str, items: list[Any], raises: Raises = ()) -> None:
        """Calls a method of every share with the items of its rows (`Helper.call`)."""
        parts = [[[items[n] for n in rows]] for rows in self._helper.shares]
        self._helper.call(method, parts, raises)
        getattr(self._own, method)([items[n] for n in self._own.rows])

    def get_state(self) -> list[EnvState]:
        """See `Resumable.get_state`: one state per environment, as in `InProcess`."""
        return [EnvState(*state) for state in self.gather("get_state")]

    def set_state(self, states: list[EnvState]) -> None:
        """See `Resumable.set_state`."""
        if len(states) != self.num_envs:
            raise other_count(len(states), self.num_envs)
        self.scatter("set_state", states, (NotRestoredError, CheckpointError))
        self.seeds[:] = [int(state.facts["seed"]) for state in states]

    def close(self) -> None:
        """Closes every environment and ends the helpers."""
        self._helper.close()
        self._own.close()
