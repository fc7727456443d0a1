"""What a logger is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pgcli.storage.loggers.write_errors import Warn


class Logger(Protocol):
    """A further place for metrics; it may fail without stopping training."""

    def __init__(self, directory: Path, *, after_step: int | None, warn: Warn) -> None:
        """Opens the logger.

        Args:
          directory: the run's directory.
          after_step: a resumed run's step: what was logged after it is dropped; None
            for a new run.
          warn: is told, once, when the disk refuses.
        """

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Logs the metrics of a step; numbers only, None is left out."""

    def close(self) -> None:
        """Gives the file back."""
