"""What a user should know about a run that is continued."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pgcli.config.dump import flat
from pgcli.config.schema import RunConfig
from pgcli.training.loops.base import Row

_STOPS = {
    "until_return": (", and --until-return was reached", "--steps M"),
    "patience": (", and --patience was exhausted", "--patience N"),
    "max_seconds": (", and --max-seconds was reached", "--max-seconds TIME"),
}
"""Stop of a run -> (what happened, options of `resume` to go further)."""


def finished(name: str, result: Mapping[str, Any]) -> str:
    """A message about a run that has nothing left to train."""
    used, asked = result["steps"]["used"], result["steps"]["asked"]
    reached, more = _STOPS.get(result["stopped"], ("", "--steps M"))
    return (
        f"{name} is finished: {used:,} of {asked:,} steps are used{reached}; "
        f"this is its result. `pgcli resume {name} {more}` extends its budget"
    )


def raised_schedules(
    stored: RunConfig, config: RunConfig, steps: int, last: Row
) -> str | None:
    """A warning about values that jump as their schedule gets a larger budget, or None.

    Args:
      stored: configuration so far.
      config: configuration to continue with.
      steps: number of steps so far.
      last: the newest row of metrics.
    """
    schedules = [key for key, value in flat(config).items() if value == "linear"]
    if config.steps <= stored.steps or not schedules:
        return None
    text = f"the new budget of {config.steps:,} steps raises the values of "
    text += ", ".join(schedules)

    # learning rate: mean over a grid, as in the row
    rates = config.grid.get("optimizer.lr") or [config.optimizer.lr]
    now = float(np.mean(rates)) * max(0.0, 1 - steps / config.steps)
    before = last.get("lr")
    if config.optimizer.schedule == "linear" and before:
        text += f": the learning rate jumps from {before:.3g} to {now:.3g} "
        text += f"(×{now / before:.3g})"
    constant = ", ".join(f"{key}=constant" for key in schedules)
    return f"{text}. To avoid it, start a run with the whole budget, or with {constant}"
