"""Metrics to MLflow (an extra): a run per member, below a run for the group.

It runs in the process of `follow`: a tracking server may be slow.
"""

import os
import time
from collections.abc import Mapping
from typing import Any

from pgcli.storage.loggers.base import LoggedRun, Outcome
from pgcli.storage.loggers.write_errors import Warn

MOST_METRICS, MOST_PARAMS, LONGEST = 1000, 100, 6000
"""Limits of MLflow: metrics and parameters of a request, characters of a value."""

RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"

GROUP = "group"
"""Key of the run that the members are below, and of the tag `log.group`."""

FILES = ("curve.svg", "config.yaml", "result.json")

STATUS: Mapping[Outcome, str] = {
    "finished": "FINISHED",
    "stopped": "KILLED",
    "killed": "FAILED",
}


class MlflowLogger:
    """A logger to the experiment `log.project`, by `MLFLOW_TRACKING_URI`."""

    def __init__(self, run: LoggedRun, warn: Warn) -> None:
        from mlflow import entities, get_tracking_uri
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        self._entities, self._error = entities, MlflowException
        self._client, self._run = MlflowClient(), run
        self._metrics: dict[str, list[Any]] = {}
        self._project = run.project("MLFLOW_EXPERIMENT_NAME")
        self.where = f"experiment {self._project} at {get_tracking_uri()}"
        # a server that does not exist is reported soon; later, it is waited for longer
        given = os.environ.get(RETRIES)
        os.environ.setdefault(RETRIES, "3")
        self._begin_runs()
        if given is None:
            del os.environ[RETRIES]

    def _begin_runs(self) -> None:
        run = self._run
        experiment = self._experiment(self._project)

        # the members, below a run for all of them
        tags = {GROUP: run.config.log.group} if run.config.log.group else {}
        if run.members[0].name:
            tags |= {"mlflow.parentRunId": self._begin(experiment, GROUP, "", tags)}
        for index, member in enumerate(run.members):
            id = self._begin(experiment, str(index), member.name, tags)
            known = self._client.get_run(id).data.params
            values = member.hyperparameters().items()
            missing = [(key, x) for key, x in values if key not in known]
            params = [self._entities.Param(key, str(x)[:LONGEST]) for key, x in missing]
            for start in range(0, len(params), MOST_PARAMS):
                part = params[start : start + MOST_PARAMS]
                self._client.log_batch(id, params=part)

    def _experiment(self, name: str) -> str:
        for _ in range(2):
            known = self._client.get_experiment_by_name(name)
            if known is not None:
                return str(known.experiment_id)
            try:
                return str(self._client.create_experiment(name))
            except self._error:  # another process has just created it
                continue
        raise RuntimeError(f"the experiment {name} could not be created")

    def _begin(
        self, experiment: str, key: str, member: str, tags: Mapping[str, str]
    ) -> str:
        """The id of a run that is new or continues."""
        ids = self._run.ids
        if key in ids:
            self._client.update_run(ids[key], status="RUNNING")
        else:
            name = f"{self._run.name} {member}".strip()
            begun = self._client.create_run(experiment, tags=dict(tags), run_name=name)
            ids[key] = begun.info.run_id
        return ids[key]

    def write(self, member: int, step: int, values: Mapping[str, float]) -> None:
        """See `Logger.write`: kept until the next flush."""
        now = int(time.time() * 1000)
        self._metrics.setdefault(self._run.ids[str(member)], []).extend(
            self._entities.Metric(name, value, now, step)
            for name, value in values.items()
        )

    def flush(self) -> None:
        """Sends the metrics."""
        for id, metrics in self._metrics.items():
            for start in range(0, len(metrics), MOST_METRICS):
                part = metrics[start : start + MOST_METRICS]
                self._client.log_batch(id, metrics=part)
        self._metrics = {}

    def finish(self, outcome: Outcome) -> None:
        """Sends the picture, and the end of all runs."""
        ids = self._run.ids
        main = ids.get(GROUP, ids["0"])
        for name in FILES if outcome == "finished" else FILES[:-1]:
            if (self._run.path / name).is_file():
                self._client.log_artifact(main, str(self._run.path / name))
        for id in ids.values():
            self._client.set_terminated(id, STATUS[outcome])
