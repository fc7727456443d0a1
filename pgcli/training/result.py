"""The result of a run: the content of result.json, and what `train --json` prints."""

from collections.abc import Mapping
from typing import Any, Literal

from pgcli.config.load import to_mapping
from pgcli.storage import checkpoint
from pgcli.training.checkpointing import Checkpointing, Resumed
from pgcli.training.context import RunContext
from pgcli.training.timing import Clock

Stopped = Literal[
    "budget", "until_return", "patience", "max_seconds", "on_iteration", "signal"
]


def run_result(
    context: RunContext,
    saved: Checkpointing,
    clock: Clock,
    resumed: Resumed | None,
    stopped: Stopped,
    evaluation: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The result of a run."""
    # steps of all members since the start or resume, and paths of checkpoints
    config, directory = context.resolved.config, context.directory
    trained = context.loop.steps - (resumed.step if resumed else 0)
    checkpoints, best, last = directory.checkpoints, saved.best, saved.saved_iteration
    return {
        "ok": stopped != "signal",
        "run": directory.name,
        "path": str(directory.path),
        "algo": config.algo.name,
        "env": config.env.id,
        "preset": context.resolved.preset,
        "seed": config.seed,
        "seeds": config.seeds,
        "config": to_mapping(config),
        "accelerator": context.accelerator.platform,
        "steps": {"asked": config.steps, "used": context.loop.steps},
        "seconds": {
            "total": round(clock.total, 3),
            "compile": round(clock.compile, 3),
            "train": round(clock.train, 3),
        },
        "steps_per_second": round(
            trained * config.num_members / max(clock.train, 1e-9), 1
        ),
        "train": {"return_mean": context.tracker.last_row.get("return_mean")},
        "eval": evaluation,
        "checkpoint": (
            None if last is None else str(checkpoints / checkpoint.name_of(last))
        ),
        "best": (
            {"checkpoint": str(checkpoints / best[0]), "return_mean": best[1]}
            if best
            else None
        ),
        "stopped": stopped,
        "resume_level": resumed.level if resumed else None,
    }
