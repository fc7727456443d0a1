"""Loggers of services: what they log, and that none can hold up or end training."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.small_runs import BATCH, resolved
from support.steady_loop import Steady

from pgcli.config.load import to_yaml
from pgcli.config.schema import LogConfig, RunConfig
from pgcli.storage.loggers import LOGGERS, require_packages, sinks
from pgcli.storage.loggers.base import LoggedRun, Outcome
from pgcli.storage.loggers.follow import Tail, follow
from pgcli.storage.loggers.names import grouped
from pgcli.storage.loggers.write_errors import Report
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.reporter import Reporter
from pgcli.training.run import resume, train

FAKES = Path(__file__).parents[2] / "support" / "fake_services"
SERVICES = ("wandb", "mlflow")
ITERATIONS = 4


class Listening(Reporter):
    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr("pgcli.training.run.DeviceLoop", Steady)
    monkeypatch.setattr(Steady, "scores", (1.0, 4.0, 2.0, 9.0))
    monkeypatch.setenv("FAKE_SERVICES", str(tmp_path / "events"))
    for name in ("WANDB_PROJECT", "WANDB_RUN_GROUP", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.syspath_prepend(str(FAKES))
    real = {name: x for name, x in sys.modules.items() if _is_service(name)}
    for name in real:
        del sys.modules[name]
    yield
    for name in [name for name in sys.modules if _is_service(name)]:
        del sys.modules[name]
    sys.modules.update(real)


def _is_service(name: str) -> bool:
    return name.partition(".")[0] in SERVICES


def trained(tmp_path: Path, *sets: str, reporter: Reporter | None = None) -> Any:
    settings = (f"steps={ITERATIONS * BATCH}", f"eval.every={2 * BATCH}", *sets)
    given = resolved("func:CartPole-v1", *settings)
    return train(given, runs_dir=tmp_path, name="x", reporter=reporter)


def copied(
    run: Path, name: str, outcome: Outcome = "finished"
) -> tuple[list[dict[str, Any]], Listening]:
    """Events of a logger that follows a run which has ended, and its messages."""
    seen, events = Listening(), run.parent / "events"
    events.unlink(missing_ok=True)
    report = Report(seen.warn, seen.note)
    follow(RunDirectory(run), name, lambda seconds: outcome, report)
    return [json.loads(line) for line in events.read_text().splitlines()], seen


def of(events: list[dict[str, Any]], kind: str) -> list[Any]:
    return [event for event in events if kind in event]


def logged(events: list[dict[str, Any]], id: str, name: str) -> list[tuple[int, float]]:
    """(steps, value) of a metric in a run of a service."""
    rows = [event["values"] for event in of(events, "log") if event["log"] == id]
    return [(row["steps"], row[name]) for row in rows if name in row]


@pytest.mark.parametrize("name", SERVICES)
def test_service_gets_the_whole_run(tmp_path: Path, name: str) -> None:
    result = trained(tmp_path)
    events, seen = copied(tmp_path / "x", name)
    (begun,) = of(events, "init")
    assert begun["name"] == "x"
    assert begun["project"].endswith("pgcli")
    assert len(of(events, "config")) == 1
    id = begun["init"]
    steps = [BATCH * i for i in range(1, ITERATIONS + 1)]
    assert [s for s, _ in logged(events, id, "train/return_mean")] == steps
    assert [s for s, _ in logged(events, id, "time/steps_per_second")] == steps
    # every episode has the same return
    for key in ("return_mean", "return_ci_low", "return_ci_high"):
        assert logged(events, id, f"eval/{key}") == [(steps[1], 4.0), (steps[3], 9.0)]
    assert logged(events, id, "final/return_mean") == [(steps[3], 9.0)]
    assert (tmp_path / "x" / "curve.svg").read_text().startswith("<svg")
    if name == "wandb":
        assert of(events, "finish") == [{"finish": id, "exit_code": 0}]
        assert {"curve": "<svg"} in [event["values"] for event in of(events, "log")]
        assert seen.notes == [f"wandb: https://wandb.test/{id}"]
    else:
        assert of(events, "finish") == [{"finish": id, "status": "FINISHED"}]
        artifacts = [event["path"] for event in of(events, "artifact")]
        assert artifacts == ["curve.svg", "config.yaml", "result.json"]
        assert seen.notes == ["mlflow: experiment pgcli at fake"]
    assert seen.warnings == []
    assert result["ok"]


@pytest.mark.parametrize("name", SERVICES)
def test_service_continues_its_run_after_a_resume(tmp_path: Path, name: str) -> None:
    trained(tmp_path)
    before, _ = copied(tmp_path / "x", name, "stopped")
    resume("x", runs_dir=tmp_path, steps=6 * BATCH)
    events, _ = copied(tmp_path / "x", name)
    id = of(before, "init")[0]["init"]
    code = {"exit_code": 255} if name == "wandb" else {"status": "KILLED"}
    assert of(before, "finish") == [{"finish": id, **code}]
    if name == "wandb":
        assert [(x["init"], x["resume"]) for x in of(events, "init")] == [(id, "allow")]
    else:
        assert of(events, "init") == []
        assert of(events, "update") == [{"update": id, "status": "RUNNING"}]
    # no row twice
    new = [steps for steps, _ in logged(events, id, "train/return_mean")]
    assert new == [5 * BATCH, 6 * BATCH]


def members(tmp_path: Path) -> Path:
    """The directory of a run of two seeds, as far as loggers read it."""
    given = resolved("func:CartPole-v1", "seeds=2", "seed=5")
    run = RunDirectory.create(tmp_path, "x", "ppo2", "func:CartPole-v1", False)
    run.write_config(to_yaml(given.config))
    rows = [
        {"iteration": 1, "steps": 32, "member": m, "seed": 5 + m, "kl": 0.1 * m}
        for m in range(2)
    ]
    run.metrics_jsonl.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run.timing_jsonl.write_text('{"iteration":1,"steps":32,"steps_per_second":7.0}\n')
    results = [{"train_return_mean": m, "eval": {"return_mean": m}} for m in range(2)]
    run.write_result({"members": results, "steps": {"used": 32}})
    return run.path


@pytest.mark.parametrize("name", SERVICES)
def test_service_shows_members_as_runs_of_a_group(tmp_path: Path, name: str) -> None:
    events, _ = copied(members(tmp_path), name)
    begun = of(events, "init")
    if name == "wandb":
        assert {event["group"] for event in begun} == {"x"}
        assert [event["seed"] for event in of(events, "config")] == [5, 6]
    else:
        parent = begun.pop(0)
        assert (parent["name"], parent["tags"]) == ("x", {})
        parents = {event["tags"]["mlflow.parentRunId"] for event in begun}
        assert parents == {parent["init"]}
        assert [event["seed"] for event in of(events, "config")] == ["5", "6"]
    assert [event["name"] for event in begun] == ["x seed=5", "x seed=6"]
    for m, event in enumerate(begun):
        assert logged(events, event["init"], "train/kl") == [(32, 0.1 * m)]
        assert logged(events, event["init"], "time/steps_per_second") == [(32, 7.0)]
        assert logged(events, event["init"], "final/return_mean") == [(32, m)]


def test_project_is_that_of_the_configuration_then_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    default, given = RunConfig(), RunConfig(log=LogConfig(project="mine"))
    assert LoggedRun(Path("x"), default).project("WANDB_PROJECT") == "pgcli"
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    assert LoggedRun(Path("x"), default).project("WANDB_PROJECT") == "theirs"
    assert LoggedRun(Path("x"), given).project("WANDB_PROJECT") == "mine"


def test_wandb_without_network_is_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_WANDB", "offline-init")
    trained(tmp_path)
    events, seen = copied(tmp_path / "x", "wandb")
    assert [event["mode"] for event in of(events, "init")] == ["offline"]
    assert seen.warnings == [
        "wandb is offline (no network); upload later with: "
        f"wandb sync {tmp_path}/x/wandb/offline-run-*"
    ]


def test_service_in_its_process_gets_what_training_logs(tmp_path: Path) -> None:
    seen = Listening()
    result = trained(
        tmp_path, "log.sinks=[wandb]", "log.project=p", "log.group=g", reporter=seen
    )
    lines = (tmp_path / "events").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    (begun,) = of(events, "init")
    assert (begun["project"], begun["group"]) == ("p", "g")
    assert len(logged(events, begun["init"], "train/return_mean")) == ITERATIONS
    assert len(of(events, "finish")) == 1
    assert seen.notes[0] == f"wandb: https://wandb.test/{begun['init']}"
    assert seen.warnings == []
    assert result["eval"]["return_mean"] == 9.0


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("raise-import", "wandb is switched off (RuntimeError: in import); training"),
        ("crash-init", "process of the logger wandb was ended by signal 9; training"),
        pytest.param("raise-log", "(RuntimeError: in log)", marks=pytest.mark.slow),
        pytest.param("raise-finish", "RuntimeError: in fin", marks=pytest.mark.slow),
        pytest.param("crash-log", "ended by signal 9", marks=pytest.mark.slow),
    ],
)
def test_service_that_fails_gives_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, message: str
) -> None:
    monkeypatch.setenv("FAKE_WANDB", fault)
    seen = Listening()
    result = trained(tmp_path, "log.sinks=[wandb]", reporter=seen)
    assert (result["ok"], result["stopped"]) == (True, "budget")
    (warning,) = seen.warnings
    assert message in warning


@pytest.mark.parametrize(
    "place", ["import", pytest.param("finish", marks=pytest.mark.slow)]
)
def test_service_that_hangs_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("FAKE_WANDB", f"hang-{place}")
    monkeypatch.setattr(sinks, "FINISH_SECONDS", 0.2)
    started: list[Any] = []

    class Recorded(sinks.Follower):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            started.append(self._process)

    monkeypatch.setattr(sinks, "Follower", Recorded)
    seen, start = Listening(), time.monotonic()
    assert trained(tmp_path, "log.sinks=[wandb]", reporter=seen)["ok"]
    assert time.monotonic() - start < 60  # it hangs for 600 s
    assert seen.notes == ["the last uploads of wandb continue in the background"]
    (process,) = started
    process.kill()
    process.wait()
    process.stdout.close()


class Raising:
    """A logger that raises at one of its methods."""

    where = ""

    def __init__(self, run: LoggedRun, warn: Callable[[str], None]) -> None:
        self._raise("init")

    def write(self, *entry: Any) -> None:
        self._raise("write")

    def flush(self) -> None:
        pass

    def finish(self, outcome: Outcome) -> None:
        self._raise("finish")

    at = ""

    def _raise(self, place: str) -> None:
        if place == self.at:
            raise RuntimeError(place)


@pytest.mark.parametrize("place", ["init", "write", "finish"])
def test_logger_that_raises_is_switched_off_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setitem(LOGGERS, "csv", Raising)
    monkeypatch.setattr(Raising, "at", place)
    seen = Listening()
    result = trained(tmp_path, "log.sinks=[csv,tensorboard]", reporter=seen)
    assert result["ok"]
    assert seen.warnings == [
        f"the logger csv is switched off (RuntimeError: {place}); training continues"
    ]
    assert any((tmp_path / "x" / "tensorboard").iterdir())  # the others continue


def test_resume_without_the_package_of_a_logger_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(tmp_path, "log.sinks=[tensorboard]")
    monkeypatch.setitem(sys.modules, "tensorboardX.proto.event_pb2", None)
    seen = Listening()
    result = resume("x", runs_dir=tmp_path, steps=6 * BATCH, reporter=seen)
    assert result["steps"]["used"] == 6 * BATCH
    assert "the logger tensorboard is switched off (ModuleNotFou" in seen.warnings[-1]


def test_sinks_of_a_run_may_change(tmp_path: Path) -> None:
    trained(tmp_path)
    sets = (f"steps={6 * BATCH}", f"eval.every={2 * BATCH}", "log.sinks=[csv]")
    given = resolved("func:CartPole-v1", *sets)
    train(given, runs_dir=tmp_path, name="x", resume="auto")
    assert (tmp_path / "x" / "metrics.csv").is_file()


def test_directory_named_like_a_package_is_not_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setitem(sinks.LOGGERS, "empty", Raising)
    monkeypatch.setattr("pgcli.storage.loggers.PACKAGES", {"empty": "empty"})
    with pytest.raises(Exception, match="needs empty, which is not installed"):
        require_packages(["empty"])


def test_grouped_names_leave_out_what_is_no_number() -> None:
    row = {
        "iteration": 3,
        "steps": 96,
        "member": 1,
        "seed": 7,
        "optimizer.lr": 0.1,
        "kl": 0.5,
        "value_loss": 2,
        "beta": None,
        "deterministic": True,
        "return_ci": [1.0, float("nan")],
    }
    assert grouped("eval", row) == {
        "eval/kl": 0.5,
        "eval/value_loss": 2,
        "eval/return_ci_low": 1.0,
    }
    assert grouped("train", {"iteration": 3, "kl": 0.5, "value_loss": 2}) == {
        "train/iteration": 3,
        "train/kl": 0.5,
        "loss/value_loss": 2,
    }


def lines(first: int, last: int) -> str:
    rows = ({"iteration": i, "steps": 10 * i} for i in range(first, last + 1))
    return "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)


def test_tail_returns_each_whole_row_once(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "log", 20, None)
    assert tail.rows() == ([], False)
    (tmp_path / "log").write_text(lines(1, 4) + '{"iteration":5,"st')
    assert [row["iteration"] for row in tail.rows()[0]] == [3, 4]  # after step 20
    assert tail.rows() == ([], False)
    (tmp_path / "log").write_text(lines(1, 6))
    assert [row["iteration"] for row in tail.rows()[0]] == [5, 6]
    assert tail.step == 60


def test_tail_of_many_rows_is_even_and_has_the_last(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(lines(1, 1001))
    rows, _ = Tail(tmp_path / "log", 0, 100).rows()
    # every 11th of 1001 iterations, 91, and the last, which is one of them
    assert [row["iteration"] for row in rows] == [*range(11, 1002, 11)]
