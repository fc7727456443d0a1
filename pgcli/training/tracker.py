"""Trackers of a loop: newest row of metrics, divergence, evaluations."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from pgcli.arrays.statistics import summarize
from pgcli.errors import DivergedError
from pgcli.training.evaluation.episodes import Episodes
from pgcli.training.loops.base import SMALLER_STEPS, Row

MAX_SKIPPED = 10
"""Iterations in a row with gradients that are not finite before a run has diverged."""

NOT_FINITE = f"gradients were not finite in {MAX_SKIPPED} iterations in a row"

Scores = dict[str, Any]
"""Statistics of the returns and lengths of an evaluation."""


class Tracker(Protocol):
    """A record of the metrics of one run, or of all its members."""

    @property
    def last_row(self) -> Row:
        """The newest row of metrics; for several members, their mean."""

    def record(self, row: Row) -> None:
        """Records a row of the loop.

        Raises a DivergedError after `MAX_SKIPPED` rows with gradients not finite.
        """

    def news(self) -> Iterable[str]:
        """Messages for the user since the last call."""

    def evaluation(self, played: Episodes) -> tuple[Scores, Iterable[Scores]]:
        """(statistics of an evaluation, rows for eval.jsonl)."""

    def results(self, played: Episodes | None) -> dict[str, Any]:
        """Additional entries of the run's result, from its final evaluation if any."""

    def state(self) -> dict[str, Any]:
        """Entries of a checkpoint's metadata."""

    def restore(self, meta: Mapping[str, Any]) -> None:
        """Restores the state from the metadata of a checkpoint."""


class RunTracker:
    """Tracker of a single run."""

    def __init__(self) -> None:
        self.last_row: Row = {}
        self._skipped = 0

    def record(self, row: Row) -> None:
        """See `Tracker.record`."""
        self.last_row = row
        self._skipped = self._skipped + 1 if row["skipped"] else 0
        if self._skipped >= MAX_SKIPPED:
            raise DivergedError(
                NOT_FINITE, where=f"iteration {row['iteration']}", help=SMALLER_STEPS
            )

    def news(self) -> Iterable[str]:
        """See `Tracker.news`: none."""
        return ()

    def evaluation(self, played: Episodes) -> tuple[Scores, Iterable[Scores]]:
        """See `Tracker.evaluation`: a single row."""
        scores = summarize(*played[:4])
        return scores, [scores]

    def results(self, played: Episodes | None) -> dict[str, Any]:
        """See `Tracker.results`: none."""
        return {}

    def state(self) -> dict[str, Any]:
        """See `Tracker.state`."""
        return {"last_row": self.last_row, "skipped": self._skipped, "members": None}

    def restore(self, meta: Mapping[str, Any]) -> None:
        """See `Tracker.restore`."""
        self.last_row, self._skipped = meta["last_row"], meta["skipped"]
