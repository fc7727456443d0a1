"""The packages of W&B (offline) and MLflow (SQLite, files) log what training logs.

They are in no test extra: `pip install wandb mlflow-skinny sqlalchemy alembic`.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.small_runs import BATCH, resolved
from support.steady_loop import Steady

from pgcli.storage.loggers import sinks
from pgcli.training.run import resume, train

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _steady(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("pgcli.training.run.DeviceLoop", Steady)
    monkeypatch.setattr(Steady, "scores", (1.0, 4.0, 2.0, 9.0))
    monkeypatch.setattr(sinks, "FINISH_SECONDS", 250.0)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)  # of the artifacts of MLflow


def trained_and_resumed(tmp_path: Path, sink: str) -> None:
    sets = (f"steps={4 * BATCH}", f"eval.every={2 * BATCH}", f"log.sinks=[{sink}]")
    train(resolved("func:CartPole-v1", *sets), runs_dir=tmp_path, name="x")
    resume("x", runs_dir=tmp_path, steps=6 * BATCH)


def records(path: Path) -> Iterator[Any]:
    """Records of an offline run: blocks of 32 KiB with parts of records."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, whole = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        rest = 32768 - place % 32768
        if rest < 7:  # too few bytes for a header
            place += rest
            continue
        _, size, kind = struct.unpack("<IHB", data[place : place + 7])
        whole += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # all of a record, or its last part
            yield Record.FromString(whole)
            whole = b""


def test_wandb_offline_has_the_run_and_its_continuation(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    trained_and_resumed(tmp_path, "wandb")
    ids, exits, values = set(), [], dict[str, list[Any]]()
    for path in sorted((tmp_path / "x" / "wandb").glob("offline-run-*/run-*.wandb")):
        for record in records(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                ids.add(
                    (record.run.run_id, record.run.project, record.run.display_name)
                )
            if kind == "exit":
                exits.append(record.exit.exit_code)
            for item in record.history.item if kind == "history" else ():
                name = item.key or ".".join(item.nested_key)
                values.setdefault(name, []).append(json.loads(item.value_json))
    stored = json.loads((tmp_path / "x" / "wandb.json").read_text())
    assert ids == {(stored["ids"]["0"], "pgcli", "x")}
    assert exits == [0, 0]
    assert values["eval/return_mean"] == [4.0, 9.0, 9.0]
    assert values["eval/return_ci_low"] == [4.0, 9.0, 9.0]
    assert values["final/return_mean"] == [9.0, 9.0]
    assert len(values["train/return_mean"]) == 6
    assert len(values["time/steps_per_second"]) == 6
    assert any(name.startswith("curve") for name in values)


@pytest.mark.parametrize("store", ["sqlite", "file"])
def test_mlflow_has_one_run_and_its_continuation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    pytest.importorskip("mlflow")
    if store == "sqlite":
        pytest.importorskip("sqlalchemy")
    uri = f"sqlite:///{tmp_path}/m.db" if store == "sqlite" else f"file:{tmp_path}/m"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    trained_and_resumed(tmp_path, "mlflow")
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name("pgcli")
    (run,) = client.search_runs([experiment.experiment_id])
    id = run.info.run_id
    assert (run.info.run_name, run.info.status) == ("x", "FINISHED")
    assert run.data.params["optimizer.lr"] == "0.0003"
    assert run.data.params["network.hidden"] == "[8]"

    def history(name: str) -> list[tuple[int, float]]:
        return sorted((x.step, x.value) for x in client.get_metric_history(id, name))

    steps = [BATCH * i for i in range(1, 7)]
    assert [step for step, _ in history("train/return_mean")] == steps
    assert [step for step, _ in history("time/steps_per_second")] == steps
    scores = [(steps[1], 4.0), (steps[3], 9.0), (steps[5], 9.0)]
    assert history("eval/return_ci_high") == scores
    assert history("final/return_mean") == [(steps[3], 9.0), (steps[5], 9.0)]
    names = {file.path for file in client.list_artifacts(id)}
    assert names == {"curve.svg", "config.yaml", "result.json"}
