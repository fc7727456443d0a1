"""The contract of environments: their spaces, and what one step returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from pgcli.shapes import Array

Bound = float | tuple[float, ...]


@dataclass(frozen=True)
class Box:
    """Arrays of one shape and dtype.

    `low` and `high` are one number where all elements share it, else one number per
    element in C order.
    """

    shape: tuple[int, ...]
    dtype: str
    low: Bound
    high: Bound

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), each of the space's shape, or () where one number serves."""
        low, high = (
            np.asarray(bound, self.dtype).reshape(
                self.shape if isinstance(bound, tuple) else ()
            )
            for bound in (self.low, self.high)
        )
        return low, high


@dataclass(frozen=True)
class Discrete:
    """The integers from `start` to `start + n − 1`; a policy counts from 0."""

    n: int
    start: int = 0


Space = Box | Discrete
ObsSpace = Space | Mapping[str, Space]


@dataclass(frozen=True)
class EnvSpec:
    """What a policy must know of an environment, and what a checkpoint records."""

    id: str
    obs: ObsSpace
    action: Space
    max_episode_steps: int | None = None


class Step(NamedTuple):
    """The outcome of one step, before any reset."""

    obs: Any
    reward: Array
    terminated: Array
    truncated: Array


class DeviceEnv(NamedTuple):
    """One on-device environment as pure functions; `vmap` makes many.

    It never resets itself: after `terminated | truncated` the collector calls `reset`,
    so the observation of `Step` is always the one that followed the action.
    """

    spec: EnvSpec
    reset: Callable[[Array], tuple[Any, Any]]
    """key -> (state, obs). Consumes the key."""
    step: Callable[[Array, Any, Array], tuple[Any, Step]]
    """(key, state, action) -> (state, Step). Consumes the key."""


class HostSlot(NamedTuple):
    """Where a host environment writes one step, as views into the rollout's buffers."""

    obs: Any
    """The next observation of each environment, after a reset where one was due."""
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    start: np.ndarray
    """Whether the next observation begins an episode."""
    real: np.ndarray
    """False where no transition took place (an autoreset step); true beforehand."""
    life_lost: np.ndarray | None = None
    """Where a life was lost and the episode goes on; None: nobody asks."""


@runtime_checkable
class HostEnv(Protocol):
    """`num_envs` environments stepped on the host."""

    spec: EnvSpec
    num_envs: int

    def reset(self, obs: Any) -> None:
        """Begins an episode everywhere; writes the observations into `obs`."""

    def step(
        self, action: np.ndarray, slot: HostSlot, active: np.ndarray | None = None
    ) -> list[tuple[int, Any]]:
        """Steps everywhere and begins a new episode where one ended.

        Args:
          action: one row per environment.
          slot: where the outcome is written.
          active: environments that still play an episode; the others may stand
            still, and one that ends is not begun anew. None: all, for ever.

        Returns:
          (environment, observation) wherever the observation that followed the action
          is neither in `slot.obs` nor needed by a terminated step: after truncations.
        """

    def close(self) -> None:
        """Frees what the environments hold."""


def env_action(space: Space, action: Any) -> Any:
    """The action that the environment gets, from the one that the policy took.

    A continuous one is clipped to the bounds; what is stored and scored stays
    unclipped. `action` is [A] or [N, A] for a Box, [] or [N] for Discrete.
    """
    if isinstance(space, Discrete):
        return action + space.start
    low, high = space.bounds()
    return action.reshape(*action.shape[:-1], *space.shape).clip(low, high)
