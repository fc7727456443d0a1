"""Checks of a run that is continued, and what the user should know about it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pgcli.config.dump import differences, flat
from pgcli.config.schema import STOPS, RunConfig
from pgcli.errors import UsageError
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.loops.base import Row

MAY_DIFFER = (
    "steps",
    *STOPS,
    "eval.every",
    "checkpoint.every",
    "host.workers",
    "host.timeout",
    "log.sinks",
    "log.project",
    "log.group",
)
"""Keys whose values may change on resume, because no earlier result depends on them."""

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
    """A warning about values that jump because their schedule gets longer, or None."""
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


def is_finished(result: Mapping[str, Any], config: RunConfig) -> bool:
    """Whether a result is final: the budget is used, or the same stop is reached."""
    key = result["stopped"]
    if key in STOPS:
        # more steps are no more time
        more_steps = config.steps > result["steps"]["asked"] and key != "max_seconds"
        return not more_steps and config.value(key) == result["config"].get(key)
    return bool(result["steps"]["used"] >= config.steps)


def check_same(run: RunDirectory, stored: RunConfig, requested: RunConfig) -> None:
    """Checks that a configuration differs from the stored one only in `MAY_DIFFER`."""
    differing = [
        f"{key}: {before} in the run, {now} asked"
        for key, before, now in differences(stored, requested)
        if key not in MAY_DIFFER
    ]
    if differing:
        raise UsageError(
            "the run was started with another configuration: "
            + "; ".join(differing[:5]),
            where=str(run.path),
            help="choose another --name, or --overwrite",
        )
