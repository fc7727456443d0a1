"""The logs of a run: metrics, evaluations, timing, and additional sinks."""

from collections.abc import Callable, Mapping
from typing import Any

from pgcli.config.schema import RunConfig
from pgcli.storage.loggers import JsonlWriter
from pgcli.storage.loggers.base import LoggedRun
from pgcli.storage.loggers.sinks import Sinks
from pgcli.storage.loggers.write_errors import Report
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.loops.base import Row
from pgcli.training.reporter import Reporter
from pgcli.training.run_picture import RunPicture


class RunLogs:
    """A writer of all logs. A write error is reported once; training continues."""

    def __init__(
        self, run: RunDirectory, config: RunConfig, reporter: Reporter
    ) -> None:
        self._run, self._config = run, config
        self._report = Report(reporter.warn, reporter.note)
        self._picture = RunPicture(run, config, reporter.warn)
        self._metrics, self._eval, self._timing = writers = [
            JsonlWriter(path, reporter.warn)
            for path in (run.metrics_jsonl, run.eval_jsonl, run.timing_jsonl)
        ]
        self._record = dict(zip(("metrics", "eval", "timing"), writers, strict=True))
        self._sinks: Sinks | None = None
        self._is_finished = False

    def open_sinks(self, after_step: int | None) -> None:
        """Opens the sinks, which drop rows after the step at which a run is resumed."""
        run = LoggedRun(self._run.path, self._config, after_step)
        self._sinks = Sinks(run, self._report)

    def metrics(self, row: Row, *, is_last: bool) -> None:
        """Writes the metrics of an iteration if they are due, or if it is the last."""
        if is_last or int(row["iteration"] or 0) % self._config.log.every == 0:
            self._metrics.write(row)
            if self._sinks is not None:
                self._sinks.metrics(row)

    def evaluation(self, row: Mapping[str, Any]) -> None:
        """Writes a row of eval.jsonl."""
        self._eval.write(row)
        if self._sinks is not None:
            self._sinks.evaluation(row)

    def timing(self, row: Mapping[str, Any]) -> None:
        """Writes a row of timing.jsonl."""
        self._timing.write(row)
        if self._sinks is not None:
            self._sinks.timing(row)
        self._picture.refresh()

    def finish(
        self,
        result: Mapping[str, Any] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        """Draws the picture, and logs the result of the run to the sinks, once.

        `stop` returns whether to stop waiting for the last uploads; None does not wait.
        """
        if self._is_finished:
            return
        self._is_finished = True
        self._picture.draw()
        if self._sinks is not None:
            self._sinks.finish(result, stop)

    def sync(self) -> None:
        """Makes the metrics durable."""
        self._metrics.sync()

    def durable_offsets(self) -> dict[str, int]:
        """Size of each log in bytes, after a sync; an argument of `cut_back`."""
        for writer in self._record.values():
            writer.sync()
        return {name: writer.offset() for name, writer in self._record.items()}

    def cut_back(self, offsets: Mapping[str, int]) -> None:
        """Truncates the logs to a checkpoint, so that every step occurs once."""
        for name, writer in self._record.items():
            writer.truncate(offsets.get(name, 0))

    def close(self) -> None:
        """Closes all logs."""
        for writer in self._record.values():
            writer.close()
        self.finish()
