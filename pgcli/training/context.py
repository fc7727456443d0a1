"""The parts of a run."""

from dataclasses import dataclass

from pgcli.config.load import Resolved
from pgcli.envs.base import mask_source
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.backend.accelerator import Accelerator
from pgcli.training.loops.base import Loop
from pgcli.training.reporter import Reporter, RunInfo
from pgcli.training.run_logs import RunLogs
from pgcli.training.tracker import Tracker


@dataclass(frozen=True)
class RunContext:
    """The parts of a run that are used by its session and its checkpoints."""

    resolved: Resolved
    directory: RunDirectory
    loop: Loop
    tracker: Tracker
    logs: RunLogs
    accelerator: Accelerator
    reporter: Reporter

    def info(self, first_step: int, resume_level: str | None) -> RunInfo:
        """The description of the run at its start, or when it continues."""
        config, accelerator = self.resolved.config, self.accelerator
        return RunInfo(
            algo=config.algo.name,
            env=config.env.id,
            backend="device" if config.env.on_device else "host",
            num_envs=config.env.num_envs,
            helpers=self.loop.helpers,
            parameters=self.loop.parameters,
            action_mask=mask_source(self.loop.spec.obs) or "",
            seed=config.seed,
            members=config.num_members,
            accelerator=accelerator.platform,
            devices=accelerator.devices,
            name=self.directory.name,
            path=self.directory.path,
            preset=self.resolved.preset,
            steps=config.steps,
            first_step=first_step,
            resume_level=resume_level,
        )
