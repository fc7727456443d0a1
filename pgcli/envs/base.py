"""The contract of environments: their spaces, and the results of a step."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:  # so that a worker process does not import JAX
    from pgcli.arrays.shapes import Array

Bound = float | tuple[float, ...]


@dataclass(frozen=True)
class Box:
    """Arrays of one shape and dtype.

    `low` and `high` are one number if all elements share it, else one number per
    element in C order.
    """

    shape: tuple[int, ...]
    dtype: str
    low: Bound
    high: Bound

    @cache  # noqa: B019 - one entry per space; called at every step
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), each of the space's shape, or () if all elements share it."""
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


@dataclass(frozen=True)
class ActionMask(MultiBinary):
    """The valid actions, 1 each: a part of an observation that networks do not get.

    Its elements are the values of all components of an action, one component after the
    other: `sizes` are those numbers of values. A component is the action of Discrete,
    each element of MultiDiscrete, and each bit of MultiBinary, which has two values; a
    Dict or Tuple has those of its parts, sorted by name. A Box has none.
    """

    sizes: tuple[int, ...]
    source: str = ""
    """Origin of the masks, for messages."""


Space = Box | Discrete | MultiDiscrete | MultiBinary
ObsSpace = Space | Mapping[str, Space]
ActionSpace = Space | Mapping[str, Space]


def component_sizes(space: ActionSpace) -> tuple[int, ...]:
    """Number of values of each component of an action, see `ActionMask`."""
    if isinstance(space, Mapping):
        return sum((component_sizes(space[name]) for name in sorted(space)), ())
    if isinstance(space, Box):
        return ()
    if isinstance(space, MultiBinary):
        return (2,) * math.prod(space.shape)
    return (space.n,) if isinstance(space, Discrete) else space.nvec


def mask_key(space: ObsSpace) -> str | None:
    """Key of the part of an observation that is the action mask; None without one."""
    parts = space.items() if isinstance(space, Mapping) else ()
    return next((name for name, x in parts if isinstance(x, ActionMask)), None)


def mask_source(space: ObsSpace) -> str | None:
    """Origin of the action masks in an observation; None without masks."""
    parts = space.values() if isinstance(space, Mapping) else ()
    return next((part.source for part in parts if isinstance(part, ActionMask)), None)


def without_mask(space: ObsSpace) -> ObsSpace:
    """The space of what networks get: a plain one if the mask leaves only one part."""
    key = mask_key(space)
    return space if key is None else _rest(space, key)


def split_mask(space: ObsSpace, obs: Any) -> tuple[Any, Any]:
    """(observation in `without_mask(space)`, its action mask or None)."""
    key = mask_key(space)
    return (obs, None) if key is None else (_rest(obs, key), obs[key])


def _rest(parts: Any, key: str) -> Any:
    rest = {name: part for name, part in parts.items() if name != key}
    return rest if len(rest) > 1 else next(iter(rest.values()))


@cache
def limits(space: Space) -> tuple[np.ndarray, np.ndarray]:
    """(smallest, largest) value of each element, of the space's shape or ()."""
    if isinstance(space, Box):
        return space.bounds()
    if isinstance(space, MultiBinary):
        return np.int64(0), np.int64(1)  # type: ignore[return-value]
    first = np.asarray(space.start, np.int64).reshape(space.shape)
    sizes = space.n if isinstance(space, Discrete) else space.nvec
    return first, first + np.asarray(sizes, np.int64).reshape(space.shape) - 1


@dataclass(frozen=True)
class EnvSpec:
    """Id, spaces and time limit of an environment, as recorded in checkpoints."""

    id: str
    obs: ObsSpace = field(hash=False)  # it may be a mapping, which has no hash
    action: ActionSpace = field(hash=False)
    max_episode_steps: int | None = None
    action_dtype: str | Mapping[str, str] | None = field(default=None, hash=False)
    """dtype of the environment's own action space; None for that of `action`."""
    action_structure: Any = field(default=None, hash=False)
    """The environment's own Dict or Tuple of actions (`actions.Structure`), or None."""


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
    step: Callable[["Array", Any, Any], tuple[Any, Step]]
    """(key, state, action) -> (state, Step). Consumes the key. The action is as from
    `actions.env_action`."""
    cuts_at_limit_only: bool = False
    """Whether only `spec.max_episode_steps` truncates. A collector then needs room for
    fewer final observations. False is always safe."""
    render: Callable[[Any], np.ndarray] | None = None
    """state -> picture [H, W, 3] of bytes, on the host; None if it has no pictures."""
    fps: float = 10.0
    """Pictures per second at the speed of the environment."""


class HostSlot(NamedTuple):
    """Output of one step of host environments, as views into the rollout's buffers."""

    obs: Any
    """The next observation of each environment, after a reset if its episode ended."""
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    start: np.ndarray
    """Whether the next observation begins an episode."""
    real: np.ndarray
    """False for an autoreset step, which is no transition; initialised to True."""
    life_lost: np.ndarray | None = None
    """Whether a life was lost and the episode continues; None if not recorded."""


@runtime_checkable
class HostEnv(Protocol):
    """`num_envs` environments stepped on the host."""

    spec: EnvSpec
    num_envs: int

    def reset(self, obs: Any) -> None:
        """Begins an episode in each environment; writes the observations into `obs`."""

    def step(
        self, action: Any, slot: HostSlot, active: np.ndarray | None = None
    ) -> list[tuple[int, Any]]:
        """Steps all environments; those whose episode ended begin a new one.

        Args:
          action: one row per environment, in a policy's format (`actions`).
          slot: buffers for the results.
          active: environments with an unfinished episode; the others need not be
            stepped, and an episode that ends is not followed by another. None: all
            are active, and a new episode follows each one that ends.

        Returns:
          (environment, observation) for each step that ended an episode and whose own
          next observation is not in `slot.obs`, because a reset replaced it.
        """

    def close(self) -> None:
        """Frees the resources of the environments."""


class EnvState(NamedTuple):
    """The state of one environment between two steps, as plain data."""

    facts: dict[str, Any]
    """Values that JSON can represent."""
    arrays: dict[str, np.ndarray]


@runtime_checkable
class Resumable(Protocol):
    """A host environment whose state can be captured and restored."""

    def get_state(self) -> list[EnvState]:
        """The states; one that cannot be captured has a reason (`capture.refusal`)."""

    def set_state(self, states: list[EnvState]) -> None:
        """Restores states that `get_state` returned, instead of a reset.

        Raises:
          NotRestoredError: a state cannot be restored; the environments are then
            unusable.
          CheckpointError: the states are not those of such environments.
        """


def where_is(env: HostEnv, n: int) -> str:
    """The name of environment `n` in errors: its id, and its seed if it has one."""
    seeds: list[int] | None = getattr(env, "seeds", None)
    return f"environment {env.spec.id}" + (f", seed {seeds[n]}" if seeds else "")
