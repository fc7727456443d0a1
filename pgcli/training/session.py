"""One run from its first iteration to its result: logs, evaluations, checkpoints."""

import time
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from pgcli import versions
from pgcli.arrays.statistics import summarize
from pgcli.config.load import Resolved, to_mapping
from pgcli.envs.registry import on_device
from pgcli.envs.spaces import spec_to_json
from pgcli.errors import CheckpointError, DivergedError, EnvironmentFailed, UsageError
from pgcli.storage import checkpoint
from pgcli.storage.loggers import LOGGERS, JsonlWriter
from pgcli.storage.retention import Retention
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.backend.accelerator import Accelerator
from pgcli.training.loop import EvaluationStopped, Loop, Row
from pgcli.training.members.loops import DeviceMembers, HostMembers
from pgcli.training.members.results import MAX_SKIPPED, NOT_FINITE, MemberBook
from pgcli.training.reporter import Reporter, RunInfo, Status
from pgcli.training.stop_signals import Interrupted, StopFlag
from pgcli.training.timing import Clock

CHUNK_SECONDS = 0.5
"""How long a chunk may take: the live view and signals wait for it."""

Stopped = Literal["budget", "until_return", "signal"]


def next_multiple(steps: int, every: int) -> int:
    """The first multiple of `every` past `steps`; never where `every` is 0."""
    return 2**63 if every == 0 else (steps // every + 1) * every


def _best_of(meta: Mapping[str, Any]) -> tuple[str, float] | None:
    """(name, score) of the checkpoint that was the best when one was saved."""
    best = meta["best"]
    return (best["checkpoint"], best["score"]) if best else None


class Session:
    """Drives a loop, and owns the run's files.

    Attributes:
      helpers: who steps host environments beside this process, in words.
    """

    helpers = ""

    def __init__(
        self,
        resolved: Resolved,
        run: RunDirectory,
        loop: Loop,
        spec: Any,
        accelerator: Accelerator,
        reporter: Reporter,
        stop: StopFlag,
    ) -> None:
        """Opens the run's logs; nothing is written yet."""
        self._config = resolved.config
        self._preset = resolved.preset
        self._run = run
        self._loop = loop
        self._spec = spec
        self._accelerator = accelerator
        self._reporter = reporter
        self._stop = stop
        self._clock = Clock()
        self._metrics = JsonlWriter(run.metrics_jsonl, reporter.warn)
        self._evals = JsonlWriter(run.eval_jsonl, reporter.warn)
        self._timing = JsonlWriter(run.timing_jsonl, reporter.warn)
        self._sinks: list[Any] = []
        self._resume_level: str | None = None
        self._first_step = 0
        self._best: tuple[str, float] | None = None
        self._retention = Retention(
            run.checkpoints,
            self._config.checkpoint.keep,
            lambda meta: {best[0]} if (best := _best_of(meta)) else (),
        )
        self._saved: int | None = None
        self._last_row: Row = {}
        self._skipped = 0
        self._evaluation_due = False
        self._members: MemberBook | None = None
        if isinstance(loop, DeviceMembers | HostMembers):
            self._members = MemberBook(loop)

    # -- checkpoints ---------------------------------------------------------------

    def restore(self, require_exact: bool = False) -> None:
        """Goes on from the newest checkpoint that verifies, if there is any.

        Logs are cut back to it, so that every step occurs once.

        Args:
          require_exact: refuse anything less, before anything is changed.

        Raises:
          CheckpointError: all are damaged, or the newest does not fit.
          UsageError: an exact resume is asked for and cannot be had.
        """
        if checkpoint.is_empty(self._run.checkpoints):
            # killed before the first one: whatever was logged begins anew
            for writer in self._writers().values():
                writer.truncate(0)
            return
        stored, damaged = checkpoint.newest_verified(self._run.checkpoints)
        for bad in damaged:
            self._reporter.warn(f"a damaged checkpoint was set aside: {bad}")
        self._retention.remember(stored.path, stored.meta)
        loop = self._loop
        stored.require(set(loop.groups) - set(loop.optional_groups))
        reached = loop.restore(stored.groups, str(stored.path))
        recorded = stored.meta.get("accelerator")
        if reached == "exact" and recorded != self._accelerator.fingerprint():
            reached = "state-exact"
        news = loop.news()
        if require_exact and reached != "exact":
            raise UsageError(
                f"an exact resume was asked for; {reached} is what can be had",
                where=str(self._run.path),
                help="; ".join(news) or "the run was computed on another accelerator",
            )
        for text in news:
            self._reporter.warn(text)
        self._resume_level = reached
        self._first_step = self._loop.steps
        self._saved = self._loop.iteration
        self._last_row = stored.meta["last_row"]
        self._skipped = stored.meta["skipped"]
        self._evaluation_due = stored.meta.get("evaluation_due", False)
        if self._members is not None:
            self._members.restore(stored.meta["members"])
        self._best = self._surviving(_best_of(stored.meta))
        for name, writer in self._writers().items():
            writer.truncate(stored.meta["log_offsets"][name])

    def _surviving(self, best: tuple[str, float] | None) -> tuple[str, float] | None:
        """The best checkpoint, or None where it is lost: then the next one counts."""
        if best is None:
            return None
        try:
            self._retention.verify(best[0])
        except CheckpointError as error:
            self._reporter.warn(
                f"the best checkpoint so far, {best[0]} with {best[1]:.6g}, is lost "
                f"({error.message}): the best from here on will be marked"
            )
            return None
        return best

    @property
    def resume_level(self) -> str | None:
        """How exactly the run goes on; None for a new one."""
        return self._resume_level

    def _writers(self) -> dict[str, JsonlWriter]:
        return {"metrics": self._metrics, "eval": self._evals, "timing": self._timing}

    def _meta(self) -> dict[str, Any]:
        for writer in self._writers().values():
            writer.sync()
        best = self._best
        return {
            "run": self._run.name,
            "config": to_mapping(self._config),
            "preset": self._preset,
            "env": spec_to_json(self._spec),
            "iteration": self._loop.iteration,
            "steps": self._loop.steps,
            "best": {"checkpoint": best[0], "score": best[1]} if best else None,
            "skipped": self._skipped,
            "evaluation_due": self._evaluation_due,
            "last_row": self._last_row,
            "members": self._members.state() if self._members else None,
            "accelerator": self._accelerator.fingerprint(),
            "versions": versions.recorded(),
            "log_offsets": {
                name: writer.offset() for name, writer in self._writers().items()
            },
        }

    def _save(self, score: float | None = None) -> bool:
        """Commits a checkpoint; with a score it becomes the best.

        A full disk leaves the older ones and training goes on.
        """
        name = checkpoint.name_of(self._loop.iteration)
        before = self._best
        if score is not None:
            self._best = (name, score)
        if self._saved == self._loop.iteration:
            # committed before its evaluation was interrupted: who goes on from it
            # evaluates anew. Or a refused `_tidy` is made up for.
            self._tidy()
            return True
        meta = self._meta()
        try:
            path = checkpoint.save(
                self._run.checkpoints, name, self._loop.snapshot(), meta
            )
        except OSError as error:
            self._best = before
            self._reporter.warn(f"the checkpoint could not be saved: {error}")
            return False
        self._retention.remember(path, meta)
        self._saved = self._loop.iteration
        self._reporter.saved(path, self._loop.iteration)
        self._tidy()
        return True

    def _tidy(self) -> None:
        """Marks the best checkpoint, then removes old ones: both can wait."""
        best = self._best
        try:
            if best and self._run.best() != best:
                self._run.mark_best(*best)
            if best is None and self._run.best() is not None:
                self._run.unmark_best()
            self._retention.prune({best[0]} if best else ())
        except OSError as error:
            self._reporter.warn(f"old checkpoints could not be removed: {error}")

    # -- training ------------------------------------------------------------------

    def train(self) -> dict[str, Any]:
        """Runs to the end and returns the result.

        Raises:
          Interrupted: a signal asked for the end; a checkpoint is committed.
          DivergedError: values are not finite.
          EnvironmentFailed: an environment failed; a checkpoint is committed.
        """
        self._open()
        stopped: Stopped = "budget"
        try:
            reached = self._reached_before()
            if self._evaluation_due:
                reached = self._evaluate_and_save(self._loop.steps)
            while (
                self._loop.steps < self._config.steps
                and self._stop.code is None
                and not reached
            ):
                before = self._loop.steps
                self._chunk()
                reached = self._evaluate_and_save(before)
            if reached:
                stopped = "until_return"
            if self._stop.code is not None:
                stopped = "signal"
        except EnvironmentFailed:
            self._save()
            raise
        finally:
            self._metrics.sync()
        saved = self._save()
        if stopped == "signal":
            raise self._interrupted(saved)
        try:
            return self._finish(stopped)
        except EvaluationStopped:
            raise self._interrupted(saved) from None

    def _reached_before(self) -> bool:
        """Whether the return asked for was reached, and the result not yet written."""
        target, best = self._config.until_return, self._best
        if target is None or best is None or best[1] < target:
            return False
        return self._run.read_result() is None

    def _open(self) -> None:
        config = self._config
        info = RunInfo(
            algo=config.algo.name,
            env=config.env.id,
            backend="device" if on_device(config.env.id) else "host",
            num_envs=config.env.num_envs,
            helpers=self.helpers,
            seed=config.seed,
            members=config.num_members,
            accelerator=self._accelerator.platform,
            devices=self._accelerator.devices,
            name=self._run.name,
            path=self._run.path,
            preset=self._preset,
            steps=config.steps,
            first_step=self._first_step,
            resume_level=self._resume_level,
        )
        self._reporter.started(info)
        after = self._first_step if self._resume_level else None
        self._sinks = [
            LOGGERS[name](self._run.path, after_step=after, warn=self._reporter.warn)
            for name in config.log.sinks
        ]
        if not self._save():
            raise UsageError(
                "the first checkpoint could not be saved: training would be lost",
                where=str(self._run.path),
                help="free some space, or choose another --runs-dir",
            )
        self._reporter.compiling()

    def _chunk(self) -> None:
        """Some iterations, up to the next event; their rows go to the logs."""
        config = self._config
        until = min(
            config.steps,
            next_multiple(self._loop.steps, config.eval.every or 0),
            next_multiple(self._loop.steps, config.checkpoint.every or 0),
        )
        before = self._loop.steps
        start, compiled = time.perf_counter(), self._clock.compile
        rows = self._loop.advance(until, CHUNK_SECONDS)
        for row in rows:
            self._log(row)
        if self._members is not None and rows:
            self._last_row = self._members.mean_row()
        for warning in (
            *self._loop.news(),
            *(self._members.news() if self._members else ()),
        ):
            self._reporter.warn(warning)
        seconds = self._clock.lap(start, compiled)
        taken = (self._loop.steps - before) * config.num_members
        pace = taken / max(seconds, 1e-9)
        self._timing.write(
            {
                "iteration": self._loop.iteration,
                "steps": self._loop.steps,
                "seconds": round(self._clock.total, 4),
                "steps_per_second": round(pace, 1),
            }
        )
        self._reporter.progress(
            Status(
                self._loop.iteration,
                self._loop.steps,
                config.steps,
                self._clock.total,
                pace,
                self._last_row,
                self._best[1] if self._best else None,
                self._saved,
            )
        )

    def _passed(self, before: int, every: int | None) -> bool:
        return next_multiple(before, every or 0) <= self._loop.steps

    def _log(self, row: Row) -> None:
        if self._members is not None:
            self._members.saw(row)
        else:
            self._last_row = row
            self._skipped = self._skipped + 1 if row["skipped"] else 0
            if self._skipped >= MAX_SKIPPED:
                raise DivergedError(
                    NOT_FINITE,
                    where=f"iteration {row['iteration']}",
                    help="a lower optimizer.lr, or normalize.obs and normalize.reward",
                )
        last = row["steps"] is not None and row["steps"] >= self._config.steps
        if last or int(row["iteration"] or 0) % self._config.log.every == 0:
            self._metrics.write(row)
            for sink in self._sinks:
                sink.write(int(row["steps"] or 0), row)

    def _evaluate_and_save(self, before: int) -> bool:
        """What is due since `before` steps; true if the return asked for is reached."""
        config = self._config
        score = None
        if self._evaluation_due or self._passed(before, config.eval.every):
            self._evaluation_due = True
            try:
                score = self._evaluate()
            except EvaluationStopped:  # it is made when the run goes on
                return False
            self._evaluation_due = False
        best = self._best[1] if self._best else -np.inf
        if score is not None and score > best:
            self._save(score)
        elif self._passed(before, config.checkpoint.every):
            self._save()
        target = config.until_return
        return score is not None and target is not None and score >= target

    def _asked(self) -> bool:
        """Whether a signal has asked for the end."""
        return self._stop.code is not None

    def _evaluate(self) -> float:
        """The mean return of a periodic evaluation, on the selection stream."""
        returns, lengths = self._loop.evaluate(
            self._config.eval.episodes, "selection", self._config.seed, self._asked
        )
        row: dict[str, Any] = {
            "iteration": self._loop.iteration,
            "steps": self._loop.steps,
            "deterministic": True,
        }
        if self._members is None:
            row |= summarize(returns, lengths)
            self._evals.write(row)
        else:
            for own in self._members.summaries(returns, lengths):
                self._evals.write(row | own)
            row |= self._members.overall(returns, lengths)
        self._reporter.evaluated(row)
        return float(row["return_mean"])

    # -- the end -------------------------------------------------------------------

    def _finish(self, stopped: Stopped) -> dict[str, Any]:
        config = self._config
        returns, lengths = self._loop.evaluate(
            config.eval.final_episodes, "reporting", config.seed, self._asked
        )
        if self._members is None:
            score = summarize(returns, lengths)
        else:
            score = self._members.overall(returns, lengths)
        result = self._result(stopped, {**score, "deterministic": True})
        if self._members is not None:
            result |= self._members.results(returns, lengths)
        try:
            self._run.write_result(result)
        except OSError as error:
            self._reporter.warn(f"result.json could not be written: {error}")
        return result

    def _result(
        self, stopped: Stopped, evaluation: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        config, clock = self._config, self._clock
        trained = (self._loop.steps - self._first_step) * config.num_members
        last = checkpoint.name_of(self._saved) if self._saved is not None else None
        return {
            "ok": stopped != "signal",
            "run": self._run.name,
            "path": str(self._run.path),
            "algo": config.algo.name,
            "env": config.env.id,
            "preset": self._preset,
            "seed": config.seed,
            "seeds": config.seeds,
            "config": to_mapping(config),
            "accelerator": self._accelerator.platform,
            "steps": {"asked": config.steps, "used": self._loop.steps},
            "seconds": {
                "total": round(clock.total, 3),
                "compile": round(clock.compile, 3),
                "train": round(clock.train, 3),
            },
            "steps_per_second": round(trained / max(clock.train, 1e-9), 1),
            "train": {"return_mean": self._last_row.get("return_mean")},
            "eval": evaluation,
            "checkpoint": str(self._run.checkpoints / last) if last else None,
            "best": (
                {
                    "checkpoint": str(self._run.checkpoints / self._best[0]),
                    "return_mean": self._best[1],
                }
                if self._best
                else None
            ),
            "stopped": stopped,
            "resume_level": self._resume_level,
        }

    def _interrupted(self, saved: bool) -> Interrupted:
        code = self._stop.code
        if code is None:
            raise RuntimeError("no signal was received")
        return Interrupted(
            code,
            self._result("signal", None),
            f"go on with: pgcli resume {self._run.path}",
            saved=saved,
        )

    def close(self) -> None:
        """Closes logs and environments."""
        for writer in (*self._writers().values(), *self._sinks):
            writer.close()
        self._loop.close()
