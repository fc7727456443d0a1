"""Workers and their queue, in this process: claims, retries, records, failures."""

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.small_runs import PPO2, SMALL, rows

from pgcli.errors import DivergedError, ExitCode, LockedError, UsageError
from pgcli.storage.run_directory import RunDirectory
from pgcli.sweep import plan as plans
from pgcli.sweep import results as results_module
from pgcli.sweep import run as sweep_run
from pgcli.sweep import study, worker
from pgcli.sweep.directory import SweepDirectory
from pgcli.sweep.results import results
from pgcli.training.stop_signals import Interrupted

pytest.importorskip("optuna")

SETS = "\n".join(f"  {text.replace('=', ': ', 1)}" for text in (*SMALL, *PPO2))
CONFIG = f"config:\n  env.id: func:CartPole-v1\n  steps: 96\n{SETS}\n"
GRID = f"{CONFIG}sampler: grid\nspace: {{optimizer.lr: [1e-4, 1e-3]}}\n"

Result = dict[str, Any]


@pytest.fixture(autouse=True)
def trials_apart(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials have runs of their own, except in tests of trials together."""
    if "together" not in request.node.name:
        monkeypatch.setattr(plans, "MAX_TOGETHER", 0)


class Sweep:
    """A sweep in a directory, without a parent process."""

    def __init__(self, folder: Path, text: str) -> None:
        file = folder / "my.yaml"
        file.write_text(text)
        self.plan = plans.load(file)
        self.directory = SweepDirectory(folder / "sweep")
        # faster than SQLite
        storage = f"journal://{self.directory.path / 'study.log'}"
        self.directory.prepare(self.plan, {"storage": storage, "env_modules": []})
        self.url = sweep_run.storage_url(self.directory)
        study.create(self.directory, self.plan, self.url)
        self.queue = study.Queue(self.directory, self.plan, self.url)
        self.notes: list[str] = []

    def work(self) -> int:
        note = self.notes.append
        return worker.work(self.directory, self.plan, self.url, note)

    def states(self) -> list[str]:
        return [trial.state.name for trial in self.queue.trials()]


def result(score: float) -> Result:
    return {"eval": {"return_mean": score, "return_ci": [score, score]}}


@pytest.fixture
def fake_train(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Callable[[Mapping[str, Any]], Result]], list[str]]:
    """Replaces training by a function of the configuration; returns the names."""

    def install(answer: Callable[[Mapping[str, Any]], Result]) -> list[str]:
        names: list[str] = []

        def train(resolved: Any, *, name: str, **others: Any) -> Result:
            names.append(name)
            return answer({"lr": resolved.config.optimizer.lr, **others})

        monkeypatch.setattr(worker, "train", train)
        return names

    return install


def test_worker_trains_the_trials_and_records_them(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, GRID)
    assert sweep.work() == 2
    assert sweep.states() == ["COMPLETE", "COMPLETE"]
    for number, lr in enumerate((1e-4, 1e-3)):
        record = sweep.directory.read_record(number)
        run = sweep.directory.run(number)
        stored = run.read_result()
        assert stored is not None
        assert record["values"] == {"optimizer.lr": lr}
        assert record["score"] == stored["eval"]["return_mean"]
        evaluations = [row["return_mean"] for row in rows(run.eval_jsonl)]
        reported = sweep.queue.trials()[number].intermediate_values
        assert list(reported.values()) == evaluations
    data = results(sweep.directory, sweep.queue, sweep.plan)
    assert [row["state"] for row in data["trials"]] == ["complete", "complete"]
    assert data["best"]["score"] == max(row["score"] for row in data["trials"])
    assert sweep.work() == 0
    assert not list(sweep.directory.workers.glob("*@*"))


@pytest.mark.parametrize("lost", [True, False])
def test_study_is_rebuilt_from_the_records(
    tmp_path: Path, fake_train: Callable[..., list[str]], lost: bool
) -> None:
    text = GRID.replace("grid", "tpe\ntrials: 3").replace(
        "[1e-4, 1e-3]", "{log_uniform: [1e-4, 1e-2]}"
    )
    sweep = Sweep(tmp_path, text)

    def play(given: Mapping[str, Any]) -> Result:
        given["reporter"].evaluated({"return_mean": 5.0, "steps": 9})
        if len(names) == 2:
            raise DivergedError("the loss is not finite")
        if len(names) == 3:
            raise Interrupted(ExitCode.TERMINATED, {}, None)
        return result(given["lr"])

    names = fake_train(play)
    with pytest.raises(Interrupted):
        sweep.work()
    before = sweep.queue.trials()
    if lost:
        (sweep.directory.path / "study.log").unlink()
    study.create(sweep.directory, sweep.plan, sweep.url, rebuild=not lost)
    after = study.Queue(sweep.directory, sweep.plan, sweep.url).trials()
    assert [t.state.name for t in after] == ["COMPLETE", "FAIL", "WAITING"]
    for kept in ("params", "value", "state", "distributions"):
        assert [getattr(t, kept) for t in after] == [getattr(t, kept) for t in before]
    assert after[0].intermediate_values == {1: 5.0}
    assert after[1].user_attrs["error"] == "the loss is not finite"


def test_trial_of_a_stopped_worker_keeps_its_number_and_values(
    tmp_path: Path, fake_train: Callable[..., list[str]]
) -> None:
    text = GRID.replace("grid", "random\ntrials: 2").replace(
        "[1e-4, 1e-3]", "{log_uniform: [1e-4, 1e-2]}"
    )
    sweep = Sweep(tmp_path, text)

    def stop(given: Mapping[str, Any]) -> Result:
        raise Interrupted(ExitCode.TERMINATED, {}, None)

    fake_train(stop)
    with pytest.raises(Interrupted):
        sweep.work()
    assert sweep.states() == ["WAITING", "WAITING"]
    before = sweep.directory.read_record(0)
    names = fake_train(lambda given: result(given["lr"]))
    sweep.work()
    after = sweep.directory.read_record(0)
    assert names == ["trial-0000", "trial-0001"]
    assert after["values"] == before["values"]
    assert sweep.queue.trials()[0].params == before["labels"]


def test_trial_of_a_killed_worker_returns_to_the_queue(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, GRID)
    lock = sweep.directory.workers / "here@1-aaaaaa.lock"
    lock.touch()
    assert sweep.queue.claim(lock) is not None
    assert sweep.states() == ["RUNNING", "WAITING"]
    sweep.queue.requeue()  # of another host, which was heard of just now
    assert sweep.states() == ["RUNNING", "WAITING"]
    os.utime(lock, (0, 0))  # silent for decades, but its run is locked
    run = RunDirectory.create(sweep.directory.runs, "trial-0000", "ppo2", "func:X")
    with run.lock():
        sweep.queue.requeue()
    assert sweep.states() == ["RUNNING", "WAITING"]
    sweep.queue.requeue()
    assert sweep.states() == ["WAITING", "WAITING"]


def test_worker_that_dies_again_and_again_fails_the_trial(
    tmp_path: Path, fake_train: Callable[..., list[str]]
) -> None:
    sweep = Sweep(tmp_path, GRID)
    record = {"trial": 0, "newest": None, "attempts": worker.MAX_ATTEMPTS}
    sweep.directory.write_record(0, record)
    names = fake_train(lambda given: result(1.0))
    sweep.work()
    assert names == ["trial-0001"]
    assert sweep.states() == ["FAIL", "COMPLETE"]
    assert (
        f"died {worker.MAX_ATTEMPTS} times"
        in sweep.queue.trials()[0].user_attrs["error"]
    )


def test_diverged_trial_fails_and_the_others_are_run(
    tmp_path: Path, fake_train: Callable[..., list[str]]
) -> None:
    sweep = Sweep(tmp_path, GRID)

    def diverge(given: Mapping[str, Any]) -> Result:
        if given["lr"] > 5e-4:
            raise DivergedError("the loss is not finite")
        return result(1.0)

    fake_train(diverge)
    assert sweep.work() == 2
    assert sweep.states() == ["COMPLETE", "FAIL"]
    data = results(sweep.directory, sweep.queue, sweep.plan)
    assert data["trials"][1]["error"] == "the loss is not finite"
    assert data["best"]["trial"] == 0


def test_trial_whose_run_is_locked_waits(
    tmp_path: Path,
    fake_train: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sweep = Sweep(tmp_path, GRID)
    monkeypatch.setattr(worker, "PAUSE_SECONDS", 0.0)
    tries = iter([True, False, False])

    def locked(given: Mapping[str, Any]) -> Result:
        if next(tries):
            raise LockedError("this run is being written by another process")
        return result(1.0)

    names = fake_train(locked)
    sweep.work()
    assert names == ["trial-0000", "trial-0000", "trial-0001"]
    assert sweep.states() == ["COMPLETE", "COMPLETE"]


def test_pruner_stops_a_trial_at_an_evaluation(
    tmp_path: Path, fake_train: Callable[..., list[str]]
) -> None:
    # one evaluation per tenth of the budget; five trials must be complete first
    values = ", ".join(f"{n}e-4" for n in range(1, 8))
    text = GRID.replace("1e-4, 1e-3", values) + "pruner: median\n"
    sweep = Sweep(tmp_path, text)
    seen: list[int] = []

    def play(given: Mapping[str, Any]) -> Result:
        score = 1 - given["lr"]  # every trial is worse than the ones before
        seen.append(0)
        for step in range(1, 11):
            seen[-1] = step
            given["reporter"].evaluated({"return_mean": score, "steps": step * 9})
        return result(score)

    fake_train(play)
    sweep.work()
    assert sweep.states() == ["COMPLETE"] * 5 + ["PRUNED"] * 2
    assert seen == [10] * 5 + [3, 3]  # after two evaluations of warm-up
    assert sweep.directory.read_record(6)["state"] == "pruned"


def test_score_is_the_interquartile_mean_and_counts_diverged_seeds() -> None:
    def members(*scores: float | None) -> Result:
        return {
            "eval": {"return_iqm_ci": [0.0, 9.0]},
            "members": [
                {"diverged": x is None and "why", "eval": x and {"return_mean": x}}
                for x in scores
            ],
        }

    # of 4, one is cut off at each end: (2 + 3)/2
    assert results_module.scored(members(1.0, 2.0, 3.0, 9.0))["score"] == 2.5
    assert results_module.scored(members(None, 2.0, 3.0, 9.0))["score"] == 2.5
    failed = results_module.scored(members(None, None, 3.0, 9.0))
    assert (failed["state"], failed["error"]) == ("failed", "2 of 4 seeds diverged")


def test_tpe_is_determined_by_the_file_with_one_worker(
    tmp_path: Path, fake_train: Callable[..., list[str]]
) -> None:
    space = "[1e-4, 1e-3]"
    text = GRID.replace("grid", "tpe\ntrials: 12").replace(
        space, "{log_uniform: [1e-4, 1e-2]}"
    )
    names = fake_train(lambda given: result(-abs(given["lr"] - 3e-3)))
    found = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        sweep = Sweep(tmp_path / folder, text)
        sweep.work()
        found.append([trial.params for trial in sweep.queue.trials()])
    assert len(names) == 24
    assert found[0] == found[1]


def test_other_space_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, GRID)
    other = tmp_path / "other.yaml"
    other.write_text(GRID.replace("1e-3", "1e-2"))
    with pytest.raises(UsageError, match="`space` has changed"):
        sweep.directory.prepare(plans.load(other), {})
    other.write_text(GRID.replace("steps: 96", "steps: 128"))
    with pytest.raises(UsageError, match="`steps` was 96, now 128"):
        sweep.directory.prepare(plans.load(other), {})
    other.write_text(GRID.replace("sampler: grid", "sampler: tpe\ntrials: 3"))
    sweep.directory.prepare(plans.load(other), {})


def test_signal_between_trials_ends_the_worker(
    tmp_path: Path, fake_train: Callable[..., list[str]]
) -> None:
    sweep = Sweep(tmp_path, GRID)

    def play(given: Mapping[str, Any]) -> Result:
        signal.raise_signal(signal.SIGTERM)
        return result(1.0)

    fake_train(play)
    with pytest.raises(Interrupted) as stopped:
        sweep.work()
    assert stopped.value.exit_code == ExitCode.TERMINATED
    assert sweep.states() == ["COMPLETE", "WAITING"]


@pytest.mark.slow
def test_grid_of_floats_on_the_device_is_trained_together(tmp_path: Path) -> None:
    text = GRID.replace("sampler", "  seeds: 2\nsampler")
    sweep = Sweep(tmp_path, text)
    assert sweep.work() == 2
    assert sweep.states() == ["COMPLETE", "COMPLETE"]
    assert [path.name for path in sweep.directory.runs.iterdir()] == ["all-trials"]
    stored = sweep.directory.run(1).read_result()
    assert stored is not None
    for number, lr in enumerate((1e-4, 1e-3)):
        members = stored["members"][2 * number : 2 * number + 2]
        assert [member["optimizer.lr"] for member in members] == [lr, lr]
        scores = [member["eval"]["return_mean"] for member in members]
        record = sweep.directory.read_record(number)
        assert record["values"] == {"optimizer.lr": lr}
        assert record["scores"] == scores
        assert record["score"] == sum(scores) / 2  # of two, the mean
    rows = results(sweep.directory, sweep.queue, sweep.plan)["trials"]
    assert [row["run"] for row in rows] == ["all-trials"] * 2


def test_trials_together_are_told_once_each_after_a_kill(
    tmp_path: Path, fake_train: Callable[..., list[str]]
) -> None:
    sweep = Sweep(tmp_path, GRID)
    seen = []

    def play(given: Mapping[str, Any]) -> Result:
        seen.append(given)
        if len(seen) == 1:
            raise Interrupted(ExitCode.TERMINATED, {}, None)
        scores = (1.0, 2.0)
        return {
            "members": [
                {"diverged": None, "eval": {"return_mean": score}} for score in scores
            ],
            "cells": [{"eval": {"iqm_ci": [score, score]}} for score in scores],
        }

    names = fake_train(play)
    with pytest.raises(Interrupted):
        sweep.work()
    assert sweep.states() == ["WAITING", "WAITING"]
    # as if the worker had been killed when only the first trial had been reported
    trial = sweep.queue.study.ask()
    sweep.queue.study.tell(trial, 1.0)
    assert sweep.work() == 1
    assert names == ["all-trials", "all-trials"]
    assert [trial.value for trial in sweep.queue.trials()] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sampler: grid", "sampler: random\ntrials: 2"),
        ("sampler: grid", "sampler: grid\npruner: median"),
        ("optimizer.lr: [1e-4, 1e-3]", "algo.num_epochs: [1, 2]"),
        ("func:CartPole-v1", "CartPole-v1"),
    ],
)
def test_other_trials_are_not_trained_together(
    tmp_path: Path, old: str, new: str
) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(GRID)
    assert plans.load(file).together
    file.write_text(GRID.replace(old, new))
    assert not plans.load(file).together
