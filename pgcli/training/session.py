"""One run from its first iteration to its result."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pgcli.envs.waiting import Abandoned
from pgcli.errors import CheckpointError, EnvironmentFailed, NotSavedError, UsageError
from pgcli.storage import checkpoint, json_files
from pgcli.storage.loggers.write_errors import LATER, Guard
from pgcli.training.checkpointing import Checkpointing, Resumed
from pgcli.training.context import RunContext
from pgcli.training.evaluation.episodes import Episodes
from pgcli.training.forecast import Forecast
from pgcli.training.loops.base import Row
from pgcli.training.reporter import Status
from pgcli.training.result import Stopped, run_result
from pgcli.training.seeds import Role
from pgcli.training.stop_signals import Interrupted, StopFlag
from pgcli.training.stops import OnIteration, Stops
from pgcli.training.timing import Clock

RETRY_SECONDS = 30.0
"""Time for which the last checkpoint and the result are tried again on a full disk."""

CHUNK_SECONDS = 0.5
"""Target duration of a chunk; signals and the live view wait for its end."""


def next_multiple(steps: int, every: int) -> int:
    """The first multiple of `every` above `steps`; 2⁶³ if `every` is 0."""
    return 2**63 if every == 0 else (steps // every + 1) * every


class Session:
    """A run as a sequence of chunks, evaluations and checkpoints, up to its result."""

    def __init__(
        self,
        context: RunContext,
        stop: StopFlag,
        on_iteration: OnIteration | None = None,
    ) -> None:
        self._context = context
        self._config = context.resolved.config
        self._run = context.directory
        self._identity = context.directory.identity()
        self._loop = context.loop
        self._tracker = context.tracker
        self._logs = context.logs
        self._reporter = context.reporter
        self._stop = stop
        self._checkpoints = Checkpointing(context)
        self._stops = Stops(
            self._config, self._run.path, self._checkpoints, on_iteration
        )
        self._clock = Clock()
        self._forecast = Forecast(context.resolved.config)
        self._resumed: Resumed | None = None
        self._first_step, self._seconds_before = 0, 0.0
        self._last_evaluation: Mapping[str, Any] | None = None
        self._evaluation_due = False

    def restore(self, require_exact: bool = False) -> None:
        """Continues from the newest checkpoint; see `Checkpointing.restore`."""
        self._resumed = self._checkpoints.restore(require_exact)
        if self._resumed is not None:
            self._first_step = self._resumed.step
            self._evaluation_due = self._resumed.evaluation_due
            # time before the checkpoint counts towards `max_seconds`
            seconds = json_files.last_row(self._run.timing_jsonl).get("run_seconds")
            self._seconds_before = seconds if isinstance(seconds, float) else 0.0

    def train(self) -> dict[str, Any]:
        """The result of training to the end.

        Raises:
          Interrupted: a signal requested a stop; a checkpoint is committed.
          DivergedError: values are not finite.
          EnvironmentFailed: an environment failed. A checkpoint is committed, except
            in training on the device, where the last one stays.
          Exception: whatever `on_iteration` raised; a checkpoint is committed.
        """
        self._open()
        try:
            # an evaluation that was interrupted is repeated after a resume
            stopped = self._stopped_before()
            if self._evaluation_due:
                stopped = self._evaluate_and_save(self._loop.steps)

            # chunks, until the budget is used, a stop is reached, or a signal
            while (
                self._loop.steps < self._config.steps
                and self._stop.code is None
                and not stopped
            ):
                before = self._loop.steps
                rows = self._chunk()
                stopped = self._evaluate_and_save(before) or self._asked(rows)
            if self._stop.code is not None:
                stopped = "signal"
        except EnvironmentFailed:
            # on the device, the state already contains an iteration that failed
            if self._evaluation_due or not self._config.env.on_device:
                self._save()
            raise
        except Abandoned:
            stopped = "signal"
        finally:
            self._logs.sync()

        # last checkpoint and final evaluation
        saved = self._save()
        if stopped == "signal":
            raise self._interrupted(saved)
        try:
            return self._finish(stopped or "budget")
        except Abandoned:
            raise self._interrupted(self._save()) from None

    def _open(self) -> None:
        """Reports the start, and commits a first checkpoint before any training."""
        level = self._resumed.level if self._resumed else None
        self._reporter.started(self._context.info(self._first_step, level))

        # without a first checkpoint, the run does not start
        self._logs.open_sinks(self._first_step if self._resumed else None)
        if not self._save():
            raise UsageError(
                "the first checkpoint could not be saved: training would be lost",
                where=str(self._run.path),
                help="free some space, or choose another --runs-dir",
            )
        self._reporter.compiling()

    def _stopped_before(self) -> Stopped | None:
        """The stop that was reached, but whose result has not been written."""
        best = self._checkpoints.best
        if self._run.read_result() is not None:
            # scores from before the result do not stop the run again
            self._stops.continue_after_result()
            best = None
        return self._stops.reached(best[1] if best else None, self._seconds)

    @property
    def _seconds(self) -> float:
        """Seconds of the run, up to the checkpoint that it was resumed from, and since.

        Time between processes does not count.
        """
        return self._seconds_before + self._clock.total

    def _asked(self, rows: Sequence[Row]) -> Stopped | None:
        """Whether `on_iteration` ends the run, after a chunk with these rows."""
        try:
            return self._stops.asked(rows, self._last_evaluation)
        except BaseException:
            self._save()
            raise

    def _chunk(self) -> Sequence[Row]:
        """Runs and logs iterations up to the next evaluation or checkpoint at most."""
        config, loop = self._config, self._loop
        until = min(
            config.steps,
            next_multiple(loop.steps, config.eval.every or 0),
            next_multiple(loop.steps, config.checkpoint.every or 0),
        )

        # iterations, and their rows in the logs
        before = loop.steps
        start, compiled = time.perf_counter(), self._clock.compile
        rows = loop.advance(until, CHUNK_SECONDS, self._stop_requested)
        self._require_directory()
        for row in rows:
            self._tracker.record(row)
            used = row["steps"]
            is_last = used is not None and used >= config.steps
            self._logs.metrics(row, is_last=is_last)
        metrics = self._tracker.last_row
        for warning in (*loop.news(), *self._tracker.news()):
            self._reporter.warn(warning)

        # steps per second, without the time of compilation
        seconds = self._clock.lap(start, compiled)
        taken = (loop.steps - before) * config.num_members
        pace = taken / max(seconds, 1e-9)
        self._logs.timing(
            {
                "iteration": loop.iteration,
                "steps": loop.steps,
                "seconds": round(self._clock.total, 4),
                "run_seconds": round(self._seconds, 4),
                "steps_per_second": round(pace, 1),
            }
        )

        # progress for the terminal
        best, limit = self._checkpoints.best, self._config.max_seconds
        left = self._forecast.update(loop.steps, pace, metrics.get("length_mean"))
        if left is not None and limit is not None:
            left = min(left, max(0.0, limit - self._seconds))
        self._reporter.progress(
            Status(
                loop.iteration,
                loop.steps,
                config.steps,
                self._clock.total,
                pace,
                metrics,
                best[1] if best else None,
                self._checkpoints.saved_iteration,
                rows,
                left,
            )
        )
        return rows

    def _passed(self, before: int, every: int | None) -> bool:
        return next_multiple(before, every or 0) <= self._loop.steps

    def _evaluate_and_save(self, before: int) -> Stopped | None:
        """Evaluates and saves if due; returns the stop that is reached, if any."""
        # an evaluation that a signal interrupts stays due
        config = self._config
        score = None
        if self._evaluation_due or self._passed(before, config.eval.every):
            self._evaluation_due = True
            try:
                score = self._evaluate()
            except Abandoned:
                return None
            self._evaluation_due = False

        # a checkpoint if this is the best score, or if one is due
        best, due = (
            self._checkpoints.best,
            self._passed(before, config.checkpoint.every),
        )
        if score is not None:
            improved = score > (best[1] if best else -math.inf)
            since_best = 0 if improved else self._checkpoints.since_best + 1
            self._checkpoints.since_best = since_best
            if improved:
                self._save(score)
                due = False
        if due:
            self._save()
        return self._stops.reached(score, self._seconds)

    def _stop_requested(self) -> bool:
        return self._stop.code is not None

    def _play(self, episodes: int, role: Role) -> Episodes:
        """Episodes of the current agent, on one of the evaluation streams."""

        def watch(done: int = 0) -> bool:
            self._reporter.evaluating(done, episodes, self._forecast.left(done))
            return self._stop_requested()

        with self._forecast.evaluation(episodes, role == "reporting"):
            played = self._loop.evaluate(episodes, role, self._config.seed, watch)
        for text in self._loop.news():
            self._reporter.warn(text)
        return played

    def _evaluate(self) -> float:
        """The mean return of a periodic evaluation on the selection stream."""
        played = self._play(self._config.eval.episodes, "selection")
        head: dict[str, Any] = {
            "iteration": self._loop.iteration,
            "steps": self._loop.steps,
            "deterministic": True,
        }
        # rows of eval.jsonl: one, or one per member
        overall, rows = self._tracker.evaluation(played)
        for row in rows:
            self._logs.evaluation(head | row)
        self._last_evaluation = MappingProxyType(head | overall)
        self._reporter.evaluated(self._last_evaluation)
        return float(overall["return_mean"])

    def _require_directory(self) -> None:
        """Raises a CheckpointError if the directory was moved, deleted or replaced."""
        if self._run.identity() != self._identity:
            raise CheckpointError(
                "the run directory was moved or deleted while it was being written",
                where=str(self._run.path),
                help="if it was moved, continue there: pgcli resume NEW_PATH",
            )

    def _save(self, score: float | None = None) -> bool:
        self._require_directory()
        return self._checkpoints.save(score, evaluation_due=self._evaluation_due)

    def _finish(self, stopped: Stopped) -> dict[str, Any]:
        """The result, with a final evaluation on the reporting stream.

        Raises a NotSavedError if the last checkpoint or the result was not written.
        """
        episodes, played = self._config.eval.final_episodes, None
        if episodes:
            played = self._play(episodes, "reporting")
        # the checkpoint that was evaluated, then the result that names it
        saved, overall = self._persist(self._save), None
        if played is not None:
            name = checkpoint.name_of(self._loop.iteration) if saved else None
            overall = {
                **self._tracker.evaluation(played)[0],
                "deterministic": True,
                "iteration": self._loop.iteration,
                "checkpoint": name,
            }
        result = self._result(stopped, overall) | self._tracker.results(played)
        guard = Guard("result.json cannot be written", self._reporter.warn, LATER)
        self._require_directory()
        written = saved and self._persist(
            lambda: guard(lambda: self._run.write_result(result))
        )
        if written:
            self._logs.finish(result, self._stop_requested)
            return result
        iteration = self._checkpoints.saved_iteration
        raise NotSavedError(
            f"the run is complete, but its {'result' if saved else 'last state'} could "
            f"not be saved; the last checkpoint is that of iteration {iteration}",
            result={**result, "ok": False},
            where=str(self._run.path),
            help=f"free some space, then continue: pgcli resume {self._run.path}",
        )

    def _persist(self, write: Callable[[], bool]) -> bool:
        """Whether `write` succeeds, tried again for `RETRY_SECONDS`."""
        end = time.monotonic() + RETRY_SECONDS
        while not (done := write()) and time.monotonic() < end and not self._stop.code:
            time.sleep(1.0)
        return done

    def _result(
        self, stopped: Stopped, evaluation: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        return run_result(
            self._context,
            self._checkpoints,
            self._clock,
            self._resumed,
            stopped,
            evaluation,
        )

    def close(self) -> None:
        """Reports how many writes have failed."""
        self._checkpoints.close()

    def _interrupted(self, saved: bool) -> Interrupted:
        """The error for a run that a signal has stopped."""
        code = self._stop.code
        if code is None:
            raise RuntimeError("no signal was received")
        outcome = "is committed" if saved else "could not be saved; the one before is"
        return Interrupted(
            code,
            self._result("signal", None),
            f"continue with: pgcli resume {self._run.path}",
            f"a checkpoint {outcome}",
        )
