"""A run trained again equals itself; what differs is named."""

import json
import shutil
from pathlib import Path

import pytest
from support.small_runs import resolved

from pgcli.diagnose.reproduce import NotReproducedError, reproduce
from pgcli.errors import ExitCode, UsageError
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.reporter import Reporter
from pgcli.training.run import train

STEPS = ("steps=192", "eval.every=64", "checkpoint.every=64")
"""Six iterations of 32 steps, with three evaluations."""


@pytest.fixture(
    scope="module",
    params=["func:CartPole-v1", pytest.param("CartPole-v1", marks=pytest.mark.slow)],
)
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train(resolved(request.param, *STEPS), runs_dir=folder, name="first")
    return folder / "first"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> RunDirectory:
    """A copy of a run, to be changed."""
    return RunDirectory(Path(shutil.copytree(trained, tmp_path / "first")))


def again(run: RunDirectory, iterations: int | None = None) -> dict[str, object]:
    folder = run.path.parent / "again"
    return reproduce(run, folder, iterations=iterations, reporter=Reporter())


def edit(path: Path, row: int, **values: object) -> None:
    """Changes values of a row of a log, counted from 0."""
    lines = path.read_text().splitlines()
    lines[row] = json.dumps(json.loads(lines[row]) | values, separators=(",", ":"))
    path.write_text("\n".join(lines) + "\n")


def test_run_equals_itself(run: RunDirectory) -> None:
    found = again(run)
    assert found["ok"]
    assert found["metrics.jsonl"] == {"rows": 6, "equal": 6}
    assert found["eval.jsonl"] == {"rows": 3, "equal": 3}
    checkpoints = found["checkpoints"]
    assert isinstance(checkpoints, dict)
    assert checkpoints["equal"] == checkpoints["compared"] >= 2
    assert found["environment"] == {}


@pytest.mark.slow
def test_run_that_its_caller_has_ended_is_compared_up_to_there(tmp_path: Path) -> None:
    given = resolved("func:CartPole-v1", *STEPS, "log.sinks=[csv]")
    train(given, runs_dir=tmp_path, name="first", on_iteration=lambda _: False)
    found = again(RunDirectory(tmp_path / "first"))
    assert found["ok"]
    assert not (tmp_path / "again" / "first" / "metrics.csv").exists()


def test_first_difference_and_other_versions_are_named(run: RunDirectory) -> None:
    edit(run.metrics_jsonl, 4, entropy=0.5)
    edit(run.metrics_jsonl, 2, kl=7.0)
    meta = json.loads(run.meta_json.read_text())
    meta["versions"]["numpy"] = "1.0"
    run.meta_json.write_text(json.dumps(meta))
    with pytest.raises(NotReproducedError) as error:
        again(run)
    assert error.value.exit_code == ExitCode.NOT_REPRODUCED
    assert "iteration 3 is the first that differs" in error.value.message
    assert "kl 7.0 recorded" in error.value.message
    assert "numpy 1.0 then" in str(error.value.help)
    found = error.value.result
    assert found is not None
    assert found["metrics.jsonl"] == {"rows": 6, "equal": 4}
    assert found["first_difference"]["keys"] == 1


def test_only_the_first_iterations_are_compared(run: RunDirectory) -> None:
    edit(run.metrics_jsonl, 4, entropy=0.5)
    found = again(run, iterations=3)
    assert found["metrics.jsonl"] == {"rows": 3, "equal": 3}


def test_a_run_without_metrics_is_refused(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "empty", "ppo2", "CartPole-v1")
    with pytest.raises(UsageError, match="no metrics"):
        again(run)
