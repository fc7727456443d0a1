"""Receivers of reports of training, called between chunks and from one thread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pgcli.errors import PgcliError


@dataclass(frozen=True)
class RunInfo:
    """Description of a run at its start."""

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
    parameters: int = 0
    action_mask: str = ""


@dataclass(frozen=True)
class Status:
    """Progress of a run.

    `metrics` is the newest row of metrics.jsonl, or for several members the mean of
    their newest rows; `rows` are all that are new.
    `left` are the seconds to the end of the run, evaluations included.
    """

    iteration: int
    steps: int
    budget: int
    seconds: float
    steps_per_second: float
    metrics: Mapping[str, float | None]
    best_eval: float | None
    last_saved_iteration: int | None
    rows: Sequence[Mapping[str, float | None]] = ()
    left: float | None = None


class Reporter:
    """A receiver of reports, such as the terminal; this one shows nothing.

    Every method must return at once.
    """

    def started(self, info: RunInfo) -> None:
        """Called when the run directory exists and training begins."""

    def compiling(self) -> None:
        """Called before the first chunk, which is compiled."""

    def progress(self, status: Status) -> None:
        """Called after a chunk."""

    def evaluating(self, done: int, episodes: int, left: float | None) -> None:
        """Called repeatedly during an evaluation, with the seconds left of the run."""

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """Called after an evaluation; `row` is its row of eval.jsonl."""

    def saved(self, path: Path, iteration: int) -> None:
        """Called after a checkpoint has been committed."""

    def note(self, message: str) -> None:
        """Called with a message that is no warning."""

    def warn(self, message: str) -> None:
        """Called with a warning; training continues."""

    def abandon(self, error: PgcliError) -> None:
        """Called from another thread if a request to stop is not obeyed.

        May report the error and end the process: nothing that matters is half done.
        """
