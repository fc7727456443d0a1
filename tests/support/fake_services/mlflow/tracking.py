import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mlflow.exceptions import MlflowException


def record(**event: Any) -> None:
    with Path(os.environ["FAKE_SERVICES"]).open("a") as stream:
        stream.write(json.dumps(event) + "\n")


class MlflowClient:
    """Knows an experiment after the second attempt to create it."""

    def __init__(self) -> None:
        self._known: str | None = None
        self._params: dict[str, dict[str, str]] = {}
        self._count = 0

    def get_experiment_by_name(self, name: str) -> Any:
        return self._known and SimpleNamespace(experiment_id=self._known)

    def create_experiment(self, name: str) -> str:
        self._known = f"experiment {name}"
        raise MlflowException("another process has created it")

    def create_run(self, experiment: str, tags: Any, run_name: str) -> Any:
        self._count += 1
        id = f"id{self._count}"
        record(init=id, project=experiment, tags=tags, name=run_name)
        return SimpleNamespace(info=SimpleNamespace(run_id=id))

    def update_run(self, id: str, status: str) -> None:
        record(update=id, status=status)

    def get_run(self, id: str) -> Any:
        params = self._params.get(id, {})
        return SimpleNamespace(data=SimpleNamespace(params=params))

    def log_batch(self, id: str, metrics: Any = (), params: Any = ()) -> None:
        assert len(metrics) <= 1000
        assert len(params) <= 100
        for param in params:
            assert isinstance(param.value, str)
        if params:
            record(config=id, **{x.key: x.value for x in params if x.key == "seed"})
        for metric in metrics:
            values = {metric.key: metric.value, "steps": metric.step}
            record(log=id, values=values)

    def log_artifact(self, id: str, path: str) -> None:
        record(artifact=id, path=Path(path).name)

    def set_terminated(self, id: str, status: str) -> None:
        record(finish=id, status=status)
