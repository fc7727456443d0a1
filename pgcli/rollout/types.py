"""What collectors hand over, and what algorithms learn from. Axes: T time, N envs."""

from typing import Any

from flax import struct

from pgcli.arrays.device_mesh import COLUMNS, ROWS
from pgcli.arrays.shapes import Array
from pgcli.nn.distributions import Distribution


class Transitions(struct.PyTreeNode):
    """T steps of N environments as a collector saw them: raw, without the policy.

    Leaves are JAX arrays from the device and NumPy arrays from the host.

    An episode that was cut off (`truncated`) at flat position t·N + n has the
    observation that followed its last action in `final_obs[i]`, where
    `final_index[i]` is that position; unused slots hold T·N, and used ones come first.
    """

    obs: Any  # [T + 1, N, *obs]: the last row is where the next rollout begins
    action: Any  # [T, N, …], unclipped
    reward: Any  # [T, N]
    terminated: Any  # [T, N]
    truncated: Any  # [T, N]
    start: Any  # [T + 1, N]: the row's observation begins an episode
    weight: Any  # [T, N]: 1 for real transitions, 0 for autoreset steps
    final_obs: Any  # [C, *obs]
    final_index: Any  # [C]
    first_carry: Any  # [N, …] or ()
    life_lost: Any = None  # [T, N]: a life was lost and the episode went on; or None


TRANSITION_SPECS = Transitions(
    obs=COLUMNS,
    action=COLUMNS,
    reward=COLUMNS,
    terminated=COLUMNS,
    truncated=COLUMNS,
    start=COLUMNS,
    weight=COLUMNS,
    final_obs=ROWS,
    final_index=ROWS,
    first_carry=ROWS,
    life_lost=COLUMNS,
)
"""How devices share what was collected; `final_index` counts within a device's part."""


class Rollout(struct.PyTreeNode):
    """A batch for one update: transitions with what π_old and V said of them.

    Observations and rewards are normalised already, where the run asks for it.
    """

    obs: Any  # [T, N, *obs]
    action: Any  # [T, N, …]
    dist: Distribution  # [T, N, …]: π_old(·|s)
    logp: Array  # [T, N]: log π_old(a|s)
    value: Array  # [T, N]: V(s_t)
    next_value: Array  # [T, N]: V(s'_t), before any reset; 0 where terminated
    reward: Array  # [T, N]
    terminated: Array  # [T, N]
    truncated: Array  # [T, N]
    start: Array  # [T, N]
    weight: Array  # [T, N]
    first_carry: Any  # [N, …] or ()
    last_obs: Any  # [N, *obs]: where the rollout was cut
    last_start: Array  # [N]
    final_obs: Any  # [C, *obs]: observations of truncated ends
    final_index: Array  # [C]: their flat positions t·N + n; T·N where unused
    action_mask: Array | None = None  # [T, N, A]

    @property
    def done(self) -> Array:
        """Where an episode ended, either way: [T, N]."""
        return self.terminated | self.truncated


ROLLOUT_SPECS = Rollout(
    obs=COLUMNS,
    action=COLUMNS,
    dist=COLUMNS,  # type: ignore[arg-type]
    logp=COLUMNS,  # type: ignore[arg-type]
    value=COLUMNS,  # type: ignore[arg-type]
    next_value=COLUMNS,  # type: ignore[arg-type]
    reward=COLUMNS,  # type: ignore[arg-type]
    terminated=COLUMNS,  # type: ignore[arg-type]
    truncated=COLUMNS,  # type: ignore[arg-type]
    start=COLUMNS,  # type: ignore[arg-type]
    weight=COLUMNS,  # type: ignore[arg-type]
    first_carry=ROWS,
    last_obs=ROWS,
    last_start=ROWS,  # type: ignore[arg-type]
    final_obs=ROWS,
    final_index=ROWS,  # type: ignore[arg-type]
)
"""As `TRANSITION_SPECS`."""
