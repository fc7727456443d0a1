"""Tracker of the members of a run: rows, averages, results."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from pgcli.arrays.statistics import (
    Score,
    over_members,
    over_seeds,
    raw_scores,
    summarize,
)
from pgcli.training.evaluation.episodes import Episodes
from pgcli.training.loops.base import Row
from pgcli.training.members.base import Members
from pgcli.training.tracker import MAX_SKIPPED, NOT_FINITE, Scores


class MembersTracker:
    """Tracker of all members of a loop."""

    def __init__(self, loop: Members) -> None:
        self._loop = loop
        self._newest: dict[int, Row] = {}
        self._skipped: dict[int, int] = {}
        self._reported: set[int] = set()
        self._mean: Row | None = {}

    @property
    def last_row(self) -> Row:
        """See `Tracker.last_row`. The mean is computed only if rows were added."""
        if self._mean is None:
            self._mean = self._mean_row()
        return self._mean

    def record(self, row: Row) -> None:
        """See `Tracker.record`: raises if no member is left."""
        member = int(row["member"] or 0)
        self._newest[member], self._mean = row, None
        count = self._skipped.get(member, 0) + 1 if row["skipped"] else 0
        self._skipped[member] = count
        if count >= MAX_SKIPPED and member not in self._loop.diverged:
            self._loop.retire(member, NOT_FINITE)

    def news(self) -> Iterator[str]:
        """See `Tracker.news`: members that have diverged."""
        for m, why in self._loop.diverged.items():
            if m not in self._reported:
                self._reported.add(m)
                yield f"{self._loop.members[m]} diverged and was stopped: {why}"

    def state(self) -> dict[str, Any]:
        """See `Tracker.state`."""
        members = {
            "labels": [member.label for member in self._loop.members],
            "diverged": {str(m): why for m, why in self._loop.diverged.items()},
            "skipped": {str(m): count for m, count in self._skipped.items()},
            "last_rows": list(self._newest.values()),
        }
        return {"last_row": self.last_row, "skipped": 0, "members": members}

    def restore(self, meta: Mapping[str, Any]) -> None:
        """See `Tracker.restore`."""
        state = meta["members"]
        for m, why in state["diverged"].items():
            self._loop.retire(int(m), why)
        self._skipped = {int(m): count for m, count in state["skipped"].items()}
        self._newest = {row["member"]: row for row in state["last_rows"]}
        self._reported = set(self._loop.diverged)
        self._mean = meta["last_row"]

    def _mean_row(self) -> Row:
        """The mean of the newest rows, over the members that have a value."""
        # rows of active members; of all if none is active
        rows = [x for m, x in self._newest.items() if m not in self._loop.diverged]
        rows = rows or list(self._newest.values())

        # means of all columns except those that identify the member
        skip = {"member", "seed", *self._loop.members[0].values}
        mean: Row = {}
        for key in (key for key in rows[0] if key not in skip):
            known = [row[key] for row in rows if row.get(key) is not None]
            mean[key] = float(np.mean(known)) if known else None  # type: ignore[arg-type]
        for key in ("iteration", "steps", "episodes", "skipped"):
            mean[key] = int(mean[key] or 0)
        return mean

    def evaluation(self, played: Episodes) -> tuple[Scores, Iterable[Scores]]:
        """See `Tracker.evaluation`, from arrays [M, episodes].

        The statistics are over the means of the members; each member has a row.
        """
        # mean return and length of each active member: [M]
        active = [m for m in self._loop.members if m.index not in self._loop.diverged]
        which = [member.index for member in active]
        returns, lengths, raw = (
            x[which].mean(axis=1) for x in (played.returns, played.lengths, played.raw)
        )
        overall = over_members(returns, played.returns.shape[1], lengths)
        overall |= raw_scores(raw)
        rows = (
            member.label | summarize(*(x[member.index] for x in played[:4]))
            for member in active
        )
        return overall, rows

    def results(self, played: Episodes | None) -> dict[str, Any]:
        """See `Tracker.results`: `members`, and `cells` of the grid."""
        entries: list[dict[str, Any]] = []
        scores: list[Score] = []
        for member in self._loop.members:
            m, why = member.index, self._loop.diverged.get(member.index)
            known = None
            if played is not None and not why:
                known = summarize(*(x[m] for x in played[:4]))
            training = (self._newest.get(m) or {}).get("return_mean")
            entries.append(
                {**member.label, "train_return_mean": training}
                | {"eval": known, "diverged": why}
            )
            # a diverged member has no score, but its last training return is listed
            score = known["return_mean"] if known else None
            training = None if why else training
            scores.append(Score(member.values, score, training, bool(why)))
        return {"members": entries, "cells": over_seeds(scores)}
