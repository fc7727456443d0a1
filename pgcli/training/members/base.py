"""What the loops of members have in common.

Members have the same structure and shapes, and differ in seeds and floating-point
values. Each gives the result of a separate run, up to rounding. The state of a member
that diverges is frozen, and the others continue.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pgcli.config.members import Member, members
from pgcli.config.schema import RunConfig
from pgcli.errors import DivergedError, PgcliError
from pgcli.training.evaluation.episodes import Episodes
from pgcli.training.loops.base import SMALLER_STEPS, Row


class Members:
    """State of the members, for both loops."""

    def __init__(self, config: RunConfig, part: range | None = None) -> None:
        """The members, or the `part` that this process trains, before training."""
        self._part = part
        self.members = self._members(config)
        self._before_training()

    def _members(self, config: RunConfig) -> list[Member]:
        """The members of this process, numbered from 0."""
        every = members(config)
        if self._part is None:
            return every
        return [replace(every[m], index=i) for i, m in enumerate(self._part)]

    def _before_training(self) -> None:
        self.diverged: dict[int, str] = {}
        self.iterations = np.zeros(len(self.members), int)
        self.member_steps = [0] * len(self.members)

    def retire(
        self,
        index: int,
        reason: str,
        help: str | None = SMALLER_STEPS,
        kind: type[PgcliError] = DivergedError,
    ) -> None:
        """Records that a member has diverged; it is inactive from now on.

        If it is the last one, an error of the class `kind` is raised.
        """
        self.diverged[index] = reason
        if len(self.diverged) == len(self.members):
            raise kind(
                f"every run diverged; {self.members[index]}: {reason}", help=help
            )

    def _active(self) -> list[int]:
        return [m.index for m in self.members if m.index not in self.diverged]

    @property
    def iteration(self) -> int:
        """Largest number of iterations of a member."""
        return int(self.iterations.max())

    @property
    def steps(self) -> int:
        """Smallest number of steps of an active member."""
        return min(self.member_steps[m] for m in self._active())

    def _each(self, episodes: int, evaluate: Callable[[Member], Episodes]) -> Episodes:
        """Results of all members; those of a member that has diverged are NaN."""
        blank = np.full(episodes, np.nan)
        rows = [Episodes(*(blank,) * len(Episodes._fields))] * len(self.members)
        for m in self._active():
            try:
                rows[m] = evaluate(self.members[m])
            except DivergedError as error:
                self.retire(m, error.message, error.help)
        return Episodes(*(np.stack(x) for x in zip(*rows, strict=True)))

    def _row(self, index: int, row: Row) -> Row:
        """A row of a member, with the columns that identify it."""
        head = {"iteration": row["iteration"], "steps": row["steps"]}
        return {**head, **self.members[index].label, **row}
