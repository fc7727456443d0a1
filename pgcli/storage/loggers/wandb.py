"""Metrics to Weights & Biases (an extra): a run per member, in one group.

It runs in the process of `follow`: `wandb` may wait for the network.
"""

import os
import secrets
from collections.abc import Mapping
from typing import Any

from pgcli.config.load import to_mapping
from pgcli.storage.loggers.base import LoggedRun, Outcome
from pgcli.storage.loggers.write_errors import Warn

STEPS = "steps"
"""The x axis of all charts; steps of W&B's own must not go back on a resume."""

INIT_SECONDS = 15
"""Time for W&B to answer, before the run is logged offline."""

EXIT_CODES: Mapping[Outcome, int] = {"finished": 0, "stopped": 255, "killed": 1}


class WandbLogger:
    """A logger to the project `log.project`.

    The environment variables of W&B (`WANDB_MODE`, `WANDB_ENTITY`, …) count.
    """

    def __init__(self, run: LoggedRun, warn: Warn) -> None:
        """Begins or continues the runs; offline if W&B cannot be reached."""
        import wandb

        self._wandb, self._run = wandb, run
        self._mode: Any = None
        self._runs = []
        for index in range(len(run.members)):
            run.ids.setdefault(str(index), secrets.token_hex(4))
            try:
                self._runs.append(self._begin(index))
            except wandb.Error as error:
                if index > 0 or self._mode is not None:
                    raise
                reason = str(error).strip().partition("\n")[0]
                warn(
                    f"wandb is offline ({reason}); upload later with: "
                    f"wandb sync {run.path / 'wandb'}/offline-run-*"
                )
                wandb.teardown()  # with what is left of the first attempt
                self._mode = "offline"
                self._runs.append(self._begin(index))
        self.where = self._runs[0].url or f"offline, in {run.path / 'wandb'}"

    def _begin(self, index: int) -> Any:
        run, member = self._run, self._run.members[index]
        group = os.environ.get("WANDB_RUN_GROUP")
        settings = self._wandb.Settings(
            console="off", init_timeout=INIT_SECONDS, x_stats_pid=os.getppid()
        )
        begun = self._wandb.init(
            project=run.project("WANDB_PROJECT"),
            group=run.config.log.group or group or (run.name if member.name else None),
            name=f"{run.name} {member.name}".strip(),
            id=run.ids[str(index)],
            resume="allow",
            reinit="create_new",
            mode=self._mode,
            dir=str(run.path),
            settings=settings,
        )
        begun.config.update(to_mapping(member.config), allow_val_change=True)
        begun.define_metric("*", step_metric=STEPS)
        return begun

    def write(self, member: int, step: int, values: Mapping[str, float]) -> None:
        """See `Logger.write`."""
        self._runs[member].log({STEPS: step, **values})

    def flush(self) -> None:
        """See `Logger.flush`: W&B uploads by itself."""

    def finish(self, outcome: Outcome) -> None:
        """Uploads the picture and the rest, which may take long."""
        curve = self._run.path / "curve.svg"
        svg = curve.read_text() if curve.is_file() else None
        for run in self._runs:
            if svg is not None:
                run.log({"curve": self._wandb.Html(svg, inject=False)})
            run.finish(exit_code=EXIT_CODES[outcome])
