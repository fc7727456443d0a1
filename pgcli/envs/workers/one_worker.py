"""Environments stepped by one worker process, and by no other."""

from typing import Any

import numpy as np

from pgcli.envs.base import HostSlot
from pgcli.envs.host.env_factory import EnvFactory
from pgcli.envs.workers.pool import Workers


class OneWorker:
    """Environments in a process of their own, which waits while this one learns."""

    def __init__(self, factory: EnvFactory, seeds: list[int], timeout: float) -> None:
        """One environment per seed; a step of all may take `timeout` seconds.

        Raises a TypeError if the keyword arguments are not plain data, or as `factory`.
        """
        self.seeds, self.num_envs = seeds, len(seeds)
        self._workers = Workers(factory, seeds, [range(len(seeds))], timeout)
        try:
            self.spec = self._workers.attach(None, len(seeds))
        except BaseException:
            self.close()
            raise

    def reseed(self, seeds: list[int]) -> None:
        """Sets the seeds of the next reset."""
        self.seeds[:] = seeds
        self._workers.call("reseed", [[seeds]])

    def reset(self, obs: Any) -> None:
        """See `HostEnv.reset`."""
        self._workers.reset(obs)()

    def step(
        self, action: np.ndarray, slot: HostSlot, active: np.ndarray | None = None
    ) -> list[tuple[int, Any]]:
        """See `HostEnv.step`."""
        return self._workers.step(action, slot, active)()

    def take_raw_returns(self) -> list[list[float]] | None:
        """See `InProcess.take_raw_returns`."""
        taken: list[list[float]] | None
        (taken,) = self._workers.call("take_raw_returns", [[]])
        return taken

    def close(self) -> None:
        """Ends the process."""
        self._workers.close()
