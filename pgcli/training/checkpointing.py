"""Saving and restoring of a run, and the choice of its best checkpoint."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from pgcli import versions
from pgcli.config.load import to_mapping
from pgcli.envs import user_modules
from pgcli.envs.spaces import spec_to_json
from pgcli.errors import CheckpointError, UsageError
from pgcli.nn.own_networks import modules_of
from pgcli.storage import checkpoint, json_files
from pgcli.storage.loggers.write_errors import LATER, Guard
from pgcli.storage.retention import Retention
from pgcli.training.context import RunContext
from pgcli.training.run_meta import check_meta, not_a_run
from pgcli.training.state import check_finite

Best = tuple[str, float]
"""(name, score) of a checkpoint."""


class Resumed(NamedTuple):
    """How a run continues from a checkpoint."""

    level: str
    """`exact`, `state-exact` or `learner-exact`."""
    step: int
    evaluation_due: bool
    """Whether the evaluation of this step was interrupted."""


def _best_of(meta: Mapping[str, Any]) -> Best | None:
    """The best checkpoint according to the metadata of another checkpoint."""
    best = meta["best"]
    return (best["checkpoint"], best["score"]) if best else None


def _referred(meta: Mapping[str, Any]) -> set[str]:
    """The checkpoints that another one refers to; its metadata are not checked yet."""
    best = meta.get("best")
    name = best.get("checkpoint") if isinstance(best, Mapping) else None
    return {name} if isinstance(name, str) else set()


class Checkpointing:
    """Saves a run, and restores it.

    Attributes:
      best: name and score of the checkpoint with the best evaluation so far.
      since_best: number of periodic evaluations since then.
      saved_iteration: iteration of the newest checkpoint.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._directory = context.directory.checkpoints
        self._warn = context.reporter.warn
        self._retention = Retention(
            self._directory, context.resolved.config.checkpoint.keep, _referred
        )
        self._saving = Guard("the checkpoint could not be saved", self._warn, LATER)
        self._tidying = Guard(
            "old checkpoints could not be removed", self._warn, "they are left over"
        )
        self.best: Best | None = None
        self.since_best = 0
        self.saved_iteration: int | None = None

    def restore(self, require_exact: bool = False) -> Resumed | None:
        """Restores the run from the newest checkpoint that verifies, if there is any.

        Logs are truncated to that checkpoint, so that every step occurs once.

        Args:
          require_exact: whether to raise an error, before anything is changed, if an
            exact resume is not possible.

        Returns:
          Level and step of the resume; None if the run begins at its first iteration.

        Raises:
          CheckpointError: all are damaged, or the newest does not fit.
          UsageError: an exact resume is required and not possible.
        """
        context = self._context
        loop, tracker, logs = context.loop, context.tracker, context.logs
        if checkpoint.is_empty(self._directory):
            # nothing is logged before the first checkpoint
            if json_files.last_row(self._context.directory.metrics_jsonl):
                raise CheckpointError(
                    "the run has trained, but its checkpoints are missing",
                    where=str(self._directory),
                    help="copy `checkpoints/` of the run too",
                )
            logs.cut_back({})
            return None

        # the newest checkpoint that verifies, read once
        stored, damaged = checkpoint.newest_verified(self._directory)
        for bad in damaged:
            self._warn(f"a damaged checkpoint was set aside: {bad}")
        stored.require(set(loop.groups) - set(loop.optional_groups))
        check_meta(stored)
        check_finite(stored.groups["agent"], str(stored.path))
        self._retention.remember(stored.path, stored.meta)

        # the loop, and the level that it reached
        level = loop.restore(stored.groups, str(stored.path))
        differences = self._accelerator_differences(stored.meta.get("accelerator"))
        if level == "exact" and differences:
            level = "state-exact"
        news = loop.news()
        if require_exact and level != "exact":
            raise UsageError(
                f"an exact resume was asked for; only {level} is possible",
                where=str(self._context.directory.path),
                help="; ".join([*news, *differences]),
            )
        for text in news:
            self._warn(text)

        # tracker, best checkpoint and logs: from here on, the run is changed
        try:
            tracker.restore(stored.meta)
        except (LookupError, TypeError, ValueError) as error:
            raise not_a_run(error, stored) from None
        self.saved_iteration = loop.iteration
        self.best = self._if_it_verifies(_best_of(stored.meta))
        self.since_best = stored.meta.get("since_best", 0)
        logs.cut_back(stored.meta["log_offsets"])
        evaluation_due = stored.meta.get("evaluation_due", False)
        return Resumed(level, loop.steps, evaluation_due)

    def _accelerator_differences(self, recorded: Mapping[str, Any] | None) -> list[str]:
        """Differences between the recorded accelerator and the one in use, as text."""
        then, now = (
            {"processes": 1, **(x or {})}
            for x in (recorded, self._context.accelerator.fingerprint())
        )
        return [
            f"the run was computed with {key} {then.get(key, 'not recorded')}; "
            f"here it is {now.get(key, 'none')}"
            for key in sorted(then.keys() | now.keys())
            if then.get(key) != now.get(key)
        ]

    def _if_it_verifies(self, best: Best | None) -> Best | None:
        """The best checkpoint, or None with a warning if it is missing or damaged."""
        if best is None:
            return None
        try:
            self._retention.verify(best[0])
        except CheckpointError as error:
            self._warn(
                f"the best checkpoint so far, {best[0]} with {best[1]:.6g}, is lost "
                f"({error.message}): the best from here on will be marked"
            )
            return None
        return best

    def save(self, score: float | None = None, *, evaluation_due: bool) -> bool:
        """Commits a checkpoint; returns whether it is on the disk.

        If the write fails, older checkpoints are unchanged and training continues. The
        `score` of an evaluation makes this checkpoint the best; `evaluation_due` if
        that of this step has not been made yet.
        """
        context, iteration = self._context, self._context.loop.iteration
        name = checkpoint.name_of(iteration)
        before = self.best
        if score is not None:
            self.best = (name, score)
        if self.saved_iteration == iteration:
            # It was committed before its evaluation: a resume from it would repeat the
            # evaluation. Marking and pruning are repeated in case they failed.
            self._tidy()
            return True

        # commit; after an error, the previous best checkpoint stays
        meta = self._meta(evaluation_due)
        path, groups = self._directory / name, context.loop.snapshot()
        if not self._saving(lambda: checkpoint.save(path.parent, name, groups, meta)):
            self.best = before
            return False
        self._retention.remember(path, meta)
        self.saved_iteration = iteration
        context.reporter.saved(path, iteration)
        self._tidy()
        return True

    def _meta(self, evaluation_due: bool) -> dict[str, Any]:
        """The metadata of a checkpoint of the current state."""
        context, best = self._context, self.best
        return {
            "run": context.directory.name,
            "config": to_mapping(context.resolved.config),
            "preset": context.resolved.preset,
            "env": spec_to_json(context.loop.spec),
            "env_modules": list(user_modules.NAMED),
            "network_modules": modules_of(context.resolved.config.network),
            "iteration": context.loop.iteration,
            "steps": context.loop.steps,
            "best": {"checkpoint": best[0], "score": best[1]} if best else None,
            "since_best": self.since_best,
            "evaluation_due": evaluation_due,
            **context.tracker.state(),
            "accelerator": context.accelerator.fingerprint(),
            "versions": versions.recorded(),
            "log_offsets": context.logs.durable_offsets(),
        }

    def _tidy(self) -> None:
        """Marks the best checkpoint and removes old ones; errors are only warnings."""
        best, run = self.best, self._context.directory

        def tidy() -> None:
            try:
                marked = run.best()
            except CheckpointError:  # damaged: replaced by what the checkpoints record
                marked = ("", math.nan)
            if best and marked != best:
                run.mark_best(*best)
            if best is None and marked is not None:
                run.unmark_best()
            self._retention.prune({best[0]} if best else ())

        self._tidying(tidy)

    def close(self) -> None:
        """Reports how many writes have failed."""
        self._saving.report()
        self._tidying.report()
