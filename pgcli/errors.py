"""Exit codes and the errors that a user can cause or must act on."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """Exit codes of `pgcli`; scripts rely on these numbers."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    ENVIRONMENT = 3
    CHECKPOINT = 4
    DIVERGED = 5
    ACCELERATOR = 6
    LOCKED = 7
    BELOW_MIN_RETURN = 8
    NOT_REPRODUCED = 9
    INTERRUPTED = 130
    TERMINATED = 143


class PgcliError(Exception):
    """A failure with a remedy: shown as text, never as a traceback.

    Attributes:
      exit_code: exit code of the process.
      message: one line that describes the failure.
      where: location of the failure (`my.yaml:7`, a path, an environment), or None.
      help: the remedy, or None.
      trace: traceback of the user's or a library's code that failed, or None.
      result: what the command computed before it failed, for `--json`, or None.
    """

    exit_code = ExitCode.UNEXPECTED

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        help: str | None = None,
        trace: str | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.help = help
        self.trace = trace
        self.result = result

    def render(self) -> str:
        """The error as lines of text: message, place and remedy."""
        lines = [f"error: {self.message}"]
        lines += [f"  {self.where}"] if self.where else []
        lines += [f"  help: {self.help}"] if self.help else []
        return "\n".join(lines)


class UsageError(PgcliError):
    """A bad flag, value or run name."""

    exit_code = ExitCode.USAGE


class EnvironmentFailed(PgcliError):  # noqa: N818 - reads as the message does
    """An environment could not be made, or misbehaved while stepping."""

    exit_code = ExitCode.ENVIRONMENT


class CheckpointError(PgcliError):
    """A checkpoint is missing, damaged or incompatible."""

    exit_code = ExitCode.CHECKPOINT


class NotSavedError(CheckpointError):
    """The last state of a run that is complete could not be saved."""


class DivergedError(PgcliError):
    """Training produced values that are not finite."""

    exit_code = ExitCode.DIVERGED


class AcceleratorError(PgcliError):
    """The requested accelerator, or memory on it, is not available."""

    exit_code = ExitCode.ACCELERATOR


class LockedError(PgcliError):
    """Another live process writes to this run directory."""

    exit_code = ExitCode.LOCKED
