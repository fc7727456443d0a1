"""The parts of a run."""

from dataclasses import dataclass

from pgcli.config.load import Resolved
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.backend.accelerator import Accelerator
from pgcli.training.loops.base import Loop
from pgcli.training.reporter import Reporter
from pgcli.training.run_logs import RunLogs
from pgcli.training.tracker import Tracker


@dataclass(frozen=True)
class RunContext:
    """The parts of a run that are used by its session and its checkpoints.

    Attributes:
      resolved: configuration of the run, and its preset.
      directory: directory of the run.
      loop: iterations of collect and update.
      tracker: newest metrics of the loop.
      logs: logs of the run.
      accelerator: device of the learner.
      reporter: receiver of reports, such as the terminal.
    """

    resolved: Resolved
    directory: RunDirectory
    loop: Loop
    tracker: Tracker
    logs: RunLogs
    accelerator: Accelerator
    reporter: Reporter
