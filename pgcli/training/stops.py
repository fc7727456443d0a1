"""Ends of a run before its budget is used: return, patience, time, or the caller."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pgcli.config.schema import RunConfig
from pgcli.training.checkpointing import Checkpointing
from pgcli.training.loops.base import Row
from pgcli.training.result import Stopped


@dataclass(frozen=True)
class Progress:
    """State of a run after an iteration, for `on_iteration`.

    Attributes:
      iteration: iterations so far; of the member if there are several.
      steps: environment steps so far, likewise.
      budget: environment steps at the end of the run.
      metrics: the row of metrics.jsonl; `member` and `seed` identify a member.
      evaluation: statistics of the last periodic evaluation of this call, or None.
      path: directory of the run.
    """

    iteration: int
    steps: int
    budget: int
    metrics: Mapping[str, float | None]
    evaluation: Mapping[str, Any] | None
    path: Path


OnIteration = Callable[[Progress], object]
"""A function that is called after each iteration; False ends training."""


class Stops:
    """Checks whether a run should end, after each chunk of iterations."""

    def __init__(
        self,
        config: RunConfig,
        path: Path,
        checkpoints: Checkpointing,
        on_iteration: OnIteration | None,
    ) -> None:
        self._config, self._path, self._checkpoints = config, path, checkpoints
        self._on_iteration = on_iteration

    def reached(self, score: float | None, seconds: float) -> Stopped | None:
        """The stop of the configuration that is reached, or None.

        `score` is the mean return of an evaluation that was just made, or None.
        """
        config = self._config
        target, patience, limit = (
            config.until_return,
            config.patience,
            config.max_seconds,
        )
        if target is not None and score is not None and score >= target:
            return "until_return"
        if patience is not None and self._checkpoints.since_best >= patience:
            return "patience"
        if limit is not None and seconds >= limit:
            return "max_seconds"
        return None

    def asked(
        self, rows: Sequence[Row], evaluation: Mapping[str, Any] | None
    ) -> Stopped | None:
        """Calls `on_iteration` for new rows up to the first one that it answers False.

        Any other exception than those of pgcli leaves it as it is.
        """
        if self._on_iteration is None:
            return None
        for row in rows:
            answer = self._on_iteration(
                Progress(
                    int(row["iteration"] or 0),
                    int(row["steps"] or 0),
                    self._config.steps,
                    MappingProxyType(row),
                    evaluation,
                    self._path,
                )
            )
            if answer is not None and not answer:
                return "on_iteration"
        return None

    def continue_after_result(self) -> None:
        """Counts evaluations again if a run that ran out of patience is continued."""
        if self._checkpoints.since_best >= (self._config.patience or 0):
            self._checkpoints.since_best = 0
