"""What a run is made of."""

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
    """The parts of a run that its session and its checkpoints share.

    Attributes:
      resolved: the configuration, and the preset that it came from.
      directory: where the run's files are.
      loop: trains.
      tracker: follows what the loop reports.
      logs: the run's logs.
      accelerator: what the run is computed on.
      reporter: shows the run to a person.
    """

    resolved: Resolved
    directory: RunDirectory
    loop: Loop
    tracker: Tracker
    logs: RunLogs
    accelerator: Accelerator
    reporter: Reporter
