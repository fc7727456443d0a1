"""The interface of a logger."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pgcli.storage.loggers.write_errors import Warn


class Logger(Protocol):
    """An additional destination for metrics. A failing logger never stops training."""

    def __init__(self, directory: Path, *, after_step: int | None, warn: Warn) -> None:
        """Opens the logger.

        Args:
          directory: the run's directory.
          after_step: the step at which the run was resumed, after which logged rows
            are dropped; None for a new run.
          warn: called once, with a message, if a write fails.
        """

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Logs the metrics of a step; values that are not numbers are omitted."""

    def close(self) -> None:
        """Closes the file."""
