"""What training tells whoever watches, between two chunks and from one thread."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class RunInfo:
    """A run as it begins."""

    algo: str
    env: str
    backend: Literal["host", "device"]
    num_envs: int
    seed: int
    accelerator: str
    name: str
    path: Path
    preset: str | None
    steps: int
    first_step: int
    resume_level: str | None
    members: int = 1
    devices: int = 1
    helpers: str = ""


@dataclass(frozen=True)
class Status:
    """Where a run stands; `metrics` is its newest row of metrics.jsonl."""

    iteration: int
    steps: int
    budget: int
    seconds: float
    steps_per_second: float
    metrics: Mapping[str, float | None]
    best_eval: float | None
    last_saved_iteration: int | None


class Reporter(Protocol):
    """Shows a run to a person; every method returns at once."""

    def started(self, info: RunInfo) -> None:
        """The run directory exists, and training begins."""

    def compiling(self) -> None:
        """The first chunk compiles: nothing moves for a moment."""

    def progress(self, status: Status) -> None:
        """A chunk has ended."""

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """An evaluation has ended; `row` is its line of eval.jsonl."""

    def saved(self, path: Path, iteration: int) -> None:
        """A checkpoint is committed."""

    def warn(self, message: str) -> None:
        """Something needs attention; training goes on."""


class Silent:
    """A reporter that shows nothing."""

    def started(self, info: RunInfo) -> None:
        """Nothing."""

    def compiling(self) -> None:
        """Nothing."""

    def progress(self, status: Status) -> None:
        """Nothing."""

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """Nothing."""

    def saved(self, path: Path, iteration: int) -> None:
        """Nothing."""

    def warn(self, message: str) -> None:
        """Nothing."""
