"""Data that collectors produce and algorithms learn from. Axes: T time, N envs.

Each field is declared in one class and inherited by all that have it, with its sharding
over devices: by environment, for [T, N, …] or, with `PER_ENV`, for [N, …].
"""

import dataclasses
from typing import Any, NamedTuple

from flax import struct

from pgcli.arrays.device_mesh import COLUMNS, ROWS
from pgcli.arrays.shapes import Array
from pgcli.envs.base import ActionSpace, ObsSpace
from pgcli.nn.distributions import Distribution

PER_ENV = {"spec": ROWS}
"""Metadata of a field whose first axis is N, or counts within a device's part of N."""


class Samples(struct.PyTreeNode, kw_only=True):
    """Fields of transitions, rollouts and batches."""

    obs: Any  # [T, N, *obs]
    action: Any  # [T, N, …], unclipped
    start: Any  # [T, N]: the row's observation begins an episode
    weight: Any  # [T, N]: 1 for real transitions, 0 for autoreset steps and padding
    first_carry: Any = struct.field(metadata=PER_ENV)  # [N, …] or ()


class Outcomes(struct.PyTreeNode, kw_only=True):
    """Fields of transitions and rollouts.

    An episode that was cut off (`truncated`) at flat position t·N + n has the
    observation that followed its last action in `final_obs[i]`, where
    `final_index[i]` is that position; unused slots hold T·N, and used ones come first.
    """

    reward: Any  # [T, N]
    terminated: Any  # [T, N]
    truncated: Any  # [T, N]
    final_obs: Any = struct.field(metadata=PER_ENV)  # [C, *obs]
    final_index: Any = struct.field(metadata=PER_ENV)  # [C]


class PolicyOutputs(struct.PyTreeNode, kw_only=True):
    """Fields of rollouts and batches: outputs of π_old and V for each step."""

    dist: Distribution  # [T, N, …]: π_old(·|s)
    logp: Array  # [T, N]: log π_old(a|s)
    value: Array  # [T, N]: V(s_t)


class Transitions(Outcomes, Samples, kw_only=True):
    """T steps of N environments as collected: unnormalised, without policy outputs.

    Leaves are JAX arrays from the device and NumPy arrays from the host. `obs` and
    `start` have T + 1 rows: the last is the first of the next rollout.
    """

    life_lost: Any = None  # [T, N]: a life was lost in an unfinished episode; or None


class Rollout(PolicyOutputs, Outcomes, Samples, kw_only=True):
    """Data of one update: transitions with the outputs of the policy and the critic.

    Observations and rewards are already normalised, if the run normalises them.
    """

    next_value: Array  # [T, N]: V(s'_t), before any reset; 0 where terminated
    last_obs: Any = struct.field(metadata=PER_ENV)  # [N, *obs]: after the last step
    last_start: Array = struct.field(metadata=PER_ENV)  # [N]

    @property
    def done(self) -> Array:
        """Whether an episode ended at each step, for either reason: [T, N]."""
        ended: Array = self.terminated | self.truncated
        return ended


class RolloutShape(NamedTuple):
    """Size and spaces of a run's rollouts, known before the first is collected.

    Attributes:
      num_steps: T; its upper bound if whole episodes are collected.
      num_envs: N; the number of trajectories if whole episodes are collected.
      obs: space of an observation.
      action: space of an action.
    """

    num_steps: int
    num_envs: int
    obs: ObsSpace
    action: ActionSpace


def shared_fields(source: Any, *classes: type) -> dict[str, Any]:
    """The fields that `source` inherits from `classes`, by name."""
    return {
        field.name: getattr(source, field.name)
        for cls in classes
        for field in dataclasses.fields(cls)
    }


def _specs(cls: Any) -> Any:
    """An instance that has a `PartitionSpec` in place of each field."""
    fields = dataclasses.fields(cls)
    return cls(**{f.name: f.metadata.get("spec", COLUMNS) for f in fields})


TRANSITION_SPECS: Transitions = _specs(Transitions)
"""Sharding of transitions; `final_index` counts within a device's part."""

ROLLOUT_SPECS: Rollout = _specs(Rollout)
"""Sharding of rollouts, as in `TRANSITION_SPECS`."""
