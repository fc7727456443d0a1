"""When and what a run saves, which checkpoint is the best, which ones are kept."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pgcli import versions
from pgcli.config.load import to_mapping
from pgcli.envs import user_modules
from pgcli.envs.spaces import spec_to_json
from pgcli.errors import CheckpointError, UsageError
from pgcli.storage import checkpoint
from pgcli.storage.retention import Retention
from pgcli.training.context import RunContext

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
    """The checkpoint that was the best when one with this metadata was saved."""
    best = meta["best"]
    return (best["checkpoint"], best["score"]) if best else None


class Checkpointing:
    """Saves a run, and restores it.

    Attributes:
      best: the checkpoint with the best evaluation so far.
      saved_iteration: of the newest checkpoint.
    """

    def __init__(self, context: RunContext) -> None:
        """Nothing is saved yet."""
        self._context = context
        self._directory = context.directory.checkpoints
        self._warn = context.reporter.warn
        self._retention = Retention(
            self._directory,
            context.resolved.config.checkpoint.keep,
            lambda meta: {best[0]} if (best := _best_of(meta)) else (),
        )
        self.best: Best | None = None
        self.saved_iteration: int | None = None

    # -- restoring -----------------------------------------------------------------

    def restore(self, require_exact: bool = False) -> Resumed | None:
        """Continues from the newest checkpoint that verifies, if there is any.

        Logs are cut back to it, so that every step occurs once.

        Args:
          require_exact: refuse anything less, before anything is changed.

        Returns:
          How the run continues; None if it begins at its first iteration.

        Raises:
          CheckpointError: all are damaged, or the newest does not fit.
          UsageError: an exact resume was asked for and is not possible.
        """
        loop, tracker, logs = (
            self._context.loop,
            self._context.tracker,
            self._context.logs,
        )
        if checkpoint.is_empty(self._directory):
            # killed before the first one: whatever was logged is written again
            logs.cut_back({})
            return None

        # the newest checkpoint that verifies, read once
        stored, damaged = checkpoint.newest_verified(self._directory)
        for bad in damaged:
            self._warn(f"a damaged checkpoint was set aside: {bad}")
        self._retention.remember(stored.path, stored.meta)
        stored.require(set(loop.groups) - set(loop.optional_groups))

        # into the loop, which reports how exact that is
        level = loop.restore(stored.groups, str(stored.path))
        differences = self._accelerator_differences(stored.meta.get("accelerator"))
        if level == "exact" and differences:
            level = "state-exact"
        news = loop.news()
        if require_exact and level != "exact":
            raise UsageError(
                f"an exact resume was asked for; {level} is what can be had",
                where=str(self._context.directory.path),
                help="; ".join([*news, *differences]),
            )
        for text in news:
            self._warn(text)

        # from here on the run is changed
        tracker.restore(stored.meta)
        self.saved_iteration = loop.iteration
        self.best = self._if_it_verifies(_best_of(stored.meta))
        logs.cut_back(stored.meta["log_offsets"])
        evaluation_due = stored.meta.get("evaluation_due", False)
        return Resumed(level, loop.steps, evaluation_due)

    def _accelerator_differences(self, recorded: Mapping[str, Any] | None) -> list[str]:
        """What of the recorded accelerator differs from the one in use, in words."""
        then, now = recorded or {}, self._context.accelerator.fingerprint()
        return [
            f"the run was computed with {key} {then.get(key, 'not recorded')}; "
            f"here it is {now.get(key, 'none')}"
            for key in sorted(then.keys() | now.keys())
            if then.get(key) != now.get(key)
        ]

    def _if_it_verifies(self, best: Best | None) -> Best | None:
        """The best checkpoint, or None if it is lost: then the next one counts."""
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

    # -- saving --------------------------------------------------------------------

    def save(self, score: float | None = None, *, evaluation_due: bool) -> bool:
        """Commits a checkpoint; returns whether it is there.

        A full disk leaves the older ones, and training continues.

        Args:
          score: of an evaluation that makes this checkpoint the best.
          evaluation_due: whether the evaluation of this step is still to be made.
        """
        context, iteration = self._context, self._context.loop.iteration
        name = checkpoint.name_of(iteration)
        before = self.best
        if score is not None:
            self.best = (name, score)
        if self.saved_iteration == iteration:
            # committed before its evaluation was interrupted: a resume from it repeats
            # the evaluation. Or a failed `_tidy` is made up for.
            self._tidy()
            return True
        meta = self._meta(evaluation_due)
        try:
            path = checkpoint.save(self._directory, name, context.loop.snapshot(), meta)
        except OSError as error:
            self.best = before
            self._warn(f"the checkpoint could not be saved: {error}")
            return False
        self._retention.remember(path, meta)
        self.saved_iteration = iteration
        context.reporter.saved(path, iteration)
        self._tidy()
        return True

    def _meta(self, evaluation_due: bool) -> dict[str, Any]:
        """The metadata of a checkpoint of the run as it stands."""
        context, best = self._context, self.best
        return {
            "run": context.directory.name,
            "config": to_mapping(context.resolved.config),
            "preset": context.resolved.preset,
            "env": spec_to_json(context.loop.spec),
            "env_modules": list(user_modules.NAMED),
            "iteration": context.loop.iteration,
            "steps": context.loop.steps,
            "best": {"checkpoint": best[0], "score": best[1]} if best else None,
            "evaluation_due": evaluation_due,
            **context.tracker.state(),
            "accelerator": context.accelerator.fingerprint(),
            "versions": versions.recorded(),
            "log_offsets": context.logs.durable_offsets(),
        }

    def _tidy(self) -> None:
        """Marks the best checkpoint, then removes old ones: both can wait."""
        best, run = self.best, self._context.directory
        try:
            if best and run.best() != best:
                run.mark_best(*best)
            if best is None and run.best() is not None:
                run.unmark_best()
            self._retention.prune({best[0]} if best else ())
        except OSError as error:
            self._warn(f"old checkpoints could not be removed: {error}")
