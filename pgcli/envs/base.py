"""The contract of environments: their spaces, and what one step returns."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    NamedTuple,
    Protocol,
    runtime_checkable,
)

import numpy as np

if TYPE_CHECKING:  # a worker process must not wait for JAX
    from pgcli.arrays.shapes import Array

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

    @cache  # noqa: B019 - as few as there are spaces; asked for at every step
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), each of the space's shape, or () where one number serves."""
        low, high = (
            np.asarray(bound, self.dtype).reshape(
                self.shape if isinstance(bound, tuple) else ()
            )
            for bound in (self.low, self.high)
        )
        low.flags.writeable = high.flags.writeable = False
        return low, high


@dataclass(frozen=True)
class Discrete:
    """The integers from `start` to `start + n − 1`; a policy counts from 0."""

    n: int
    start: int = 0
    shape: ClassVar[tuple[int, ...]] = ()
    dtype: ClassVar[str] = "int32"


@dataclass(frozen=True)
class MultiDiscrete:
    """Arrays of integers: element i, in C order, has `nvec[i]` values from `start[i]`.

    A policy counts each from 0.
    """

    shape: tuple[int, ...]
    nvec: tuple[int, ...]
    start: tuple[int, ...]
    dtype: ClassVar[str] = "int32"


@dataclass(frozen=True)
class MultiBinary:
    """Arrays of zeros and ones."""

    shape: tuple[int, ...]
    dtype: ClassVar[str] = "int8"


Space = Box | Discrete | MultiDiscrete | MultiBinary
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
    reward: "Array"
    terminated: "Array"
    truncated: "Array"


class DeviceEnv(NamedTuple):
    """One on-device environment as pure functions; `vmap` makes many.

    It never resets itself: after `terminated | truncated` the collector calls `reset`,
    so the observation of `Step` is always the one that followed the action.
    """

    spec: EnvSpec
    reset: Callable[["Array"], tuple[Any, Any]]
    """key -> (state, obs). Consumes the key."""
    step: Callable[["Array", Any, "Array"], tuple[Any, Step]]
    """(key, state, action) -> (state, Step). Consumes the key."""
    cuts_at_limit_only: bool = False
    """Whether nothing but `spec.max_episode_steps` truncates: a collector then has to
    make room for few final observations. False is always safe."""


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


class EnvState(NamedTuple):
    """What one environment is between two steps, as plain data."""

    facts: dict[str, Any]
    """What JSON has a form for."""
    arrays: dict[str, np.ndarray]


@runtime_checkable
class Resumable(Protocol):
    """A host environment whose state can be taken and given back."""

    def get_state(self) -> list[EnvState]:
        """The states; one that cannot be had says why (`capture.refusal`)."""

    def set_state(self, states: list[EnvState]) -> None:
        """Begins in states that `get_state` returned, in place of a reset.

        Raises:
          NotRestoredError: it cannot; the environments are then of no use.
          CheckpointError: these are no states of such environments.
        """


def where_is(env: HostEnv, n: int) -> str:
    """How errors name environment `n`: its id, and its seed where there is one."""
    seeds: list[int] | None = getattr(env, "seeds", None)
    return f"environment {env.spec.id}" + (f", seed {seeds[n]}" if seeds else "")


def env_action(space: Space, action: Any) -> Any:
    """The action that the environment gets, from the one that the policy took.

    A continuous one is clipped to the bounds; what is stored and scored stays
    unclipped. `action` is [] or [N] for Discrete, else [A] or [N, A].
    """
    if isinstance(space, Discrete):
        return action + space.start
    if isinstance(space, MultiDiscrete):
        action = action + np.asarray(space.start, np.int32).reshape(
            *(1,) * (action.ndim - 1), -1
        )
    shaped = action.reshape(*action.shape[:-1], *space.shape)
    if isinstance(space, MultiBinary):
        return shaped.astype(space.dtype)
    return shaped.clip(*space.bounds()) if isinstance(space, Box) else shaped


def random_action(
    space: Space, batch: tuple[int, ...], generator: np.random.Generator
) -> np.ndarray:
    """Actions [*batch, …] as a policy gives them: uniform, or standard normal."""
    if isinstance(space, Box):
        size = (*batch, math.prod(space.shape))
        return generator.normal(size=size).astype(np.float32)
    if isinstance(space, Discrete):
        return generator.integers(space.n, size=batch).astype(np.int32)
    if isinstance(space, MultiDiscrete):
        size = (*batch, len(space.nvec))
        return generator.integers(space.nvec, size=size).astype(np.int32)
    size = (*batch, math.prod(space.shape))
    return generator.integers(2, size=size).astype(np.int32)
