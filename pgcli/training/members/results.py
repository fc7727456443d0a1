"""What a run of several members says of them: rows, averages, results."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pgcli.arrays.statistics import over_members, summarize, summary
from pgcli.config.members import Member
from pgcli.training.loop import Row
from pgcli.training.members.loops import DeviceMembers, HostMembers

MAX_SKIPPED = 10
"""Iterations in a row with gradients that are not finite before a run has diverged."""

NOT_FINITE = f"gradients were not finite in {MAX_SKIPPED} iterations in a row"


class MemberBook:
    """Follows the members of a loop."""

    def __init__(self, loop: DeviceMembers | HostMembers) -> None:
        """Begins with nothing known."""
        self._loop = loop
        self._last: dict[int, Row] = {}
        self._skipped: dict[int, int] = {}
        self._told: set[int] = set()

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of this."""
        return {
            "labels": [member.label for member in self._loop.members],
            "diverged": {str(m): why for m, why in self._loop.diverged.items()},
            "skipped": {str(m): count for m, count in self._skipped.items()},
            "last_rows": list(self._last.values()),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from what a checkpoint holds."""
        for m, why in state["diverged"].items():
            self._loop.retire(int(m), why)
        self._skipped = {int(m): count for m, count in state["skipped"].items()}
        self._last = {row["member"]: row for row in state["last_rows"]}
        self._told = set(self._loop.diverged)

    def saw(self, row: Row) -> None:
        """Takes notice of a member's row.

        Raises:
          DivergedError: no member is left.
        """
        member = int(row["member"] or 0)
        self._last[member] = row
        count = self._skipped.get(member, 0) + 1 if row["skipped"] else 0
        self._skipped[member] = count
        if count >= MAX_SKIPPED and member not in self._loop.diverged:
            self._loop.retire(member, NOT_FINITE)

    def news(self) -> Iterator[str]:
        """In words, which members have diverged since this was asked."""
        for m, why in self._loop.diverged.items():
            if m not in self._told:
                self._told.add(m)
                yield f"{self._loop.members[m]} diverged and was stopped: {why}"

    def mean_row(self) -> Row:
        """The newest rows as one: the mean over members of what each knows."""
        rows = [x for m, x in self._last.items() if m not in self._loop.diverged]
        rows = rows or list(self._last.values())
        skip = {"member", "seed", *self._loop.members[0].values}
        mean: Row = {}
        for key in (key for key in rows[0] if key not in skip):
            known = [row[key] for row in rows if row.get(key) is not None]
            mean[key] = float(np.mean(known)) if known else None  # type: ignore[arg-type]
        for key in ("iteration", "steps", "episodes", "skipped"):
            mean[key] = int(mean[key] or 0)
        return mean

    def summaries(
        self, returns: np.ndarray, lengths: np.ndarray
    ) -> Iterator[dict[str, Any]]:
        """Each member's evaluation, from its row of [M, episodes]."""
        for member in self._loop.members:
            if member.index not in self._loop.diverged:
                m = member.index
                yield member.label | summarize(returns[m], lengths[m])

    def overall(self, returns: np.ndarray, lengths: np.ndarray) -> dict[str, Any]:
        """All members' evaluation: statistics over their means, not over episodes."""
        mine = [
            member.index
            for member in self._loop.members
            if member.index not in self._loop.diverged
        ]
        scores = returns[mine].mean(axis=1)
        return over_members(scores, returns.shape[1], lengths[mine].mean(axis=1))

    def results(self, returns: np.ndarray, lengths: np.ndarray) -> dict[str, Any]:
        """`members`: one entry each; `cells`: each combination of the grid's values."""
        entries: list[dict[str, Any]] = []
        cells: dict[str, dict[str, Any]] = {}
        for member in self._loop.members:
            m, why = member.index, self._loop.diverged.get(member.index)
            known = None if why else summarize(returns[m], lengths[m])
            training = (self._last.get(m) or {}).get("return_mean")
            entries.append(
                {**member.label, "train_return_mean": training}
                | {"eval": known, "diverged": why}
            )
            cell = cells.setdefault(str(member.values), _cell(member))
            cell["scores"] += [] if why else [returns[m].mean()]
            cell["train"] += [] if why or training is None else [training]
            cell["diverged"] += bool(why)
        return {
            "members": entries,
            "cells": [
                {
                    "values": cell["values"],
                    "seeds": cell["diverged"] + len(cell["scores"]),
                    "diverged": cell["diverged"],
                    "eval": _summary(cell["scores"]),
                    "train": _summary(cell["train"]),
                }
                for cell in cells.values()
            ],
        }


def _cell(member: Member) -> dict[str, Any]:
    return {"values": dict(member.values), "scores": [], "train": [], "diverged": 0}


def _summary(scores: list[float]) -> dict[str, Any] | None:
    return summary(np.array(scores)) if scores else None
