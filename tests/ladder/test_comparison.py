"""The ladder from runs that are written by hand, and once from real ones."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pgcli.config.dump import to_yaml
from pgcli.ladder import comparison, result_files
from pgcli.ladder.jobs import Job
from pgcli.ladder.plan import Request, make_rungs
from pgcli.storage.run_directory import RunDirectory

ROOT = Path(__file__).parents[2]
STEPS = 1000


class Quiet:
    """A watcher that remembers which runs were trained here."""

    def __init__(self) -> None:
        self.trained: list[str] = []

    def begin(self, title: str, count: int, workers: int) -> None:
        pass

    def ended(self, outcome: Any) -> None:
        if outcome.seconds is not None:
            self.trained.append(outcome.job.name)

    def waiting(self, job: Job) -> None:
        pass


def request(out: Path, **more: Any) -> Request:
    values = {
        "env": "CartPole-v1",
        "algos": ("reward-to-go", "a2c"),
        "seeds": (0, 1),
        "out": out,
        "steps": STEPS,
        **more,
    }
    return Request(**values)


def finish(job: Job, final: float, evaluation: float) -> None:
    """A run that rose in a line from 0 to `final`, with KL .01 and ESS .9."""
    run = RunDirectory.create(job.runs_dir, job.name, "a2c", "CartPole-v1")
    run.write_config(to_yaml(job.config))
    rows = [
        {"steps": s, "return_mean": final * s / STEPS, "episodes": 100, **more}
        for s, more in ((0, {"kl": 0.0}), (STEPS, {"kl": 0.02, "ess": 0.9}))
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    run.metrics_jsonl.write_text(text)
    answer = {"ok": True, "eval": {"return_mean": evaluation}}
    run.write_result(answer | {"train": {"return_mean": final}})


@pytest.fixture
def result(tmp_path: Path) -> dict[str, Any]:
    asked = request(tmp_path, threshold=100.0)
    for rung in make_rungs(asked):
        better = 100.0 if rung.algo == "a2c" else 0.0
        for seed in asked.seeds:
            finish(rung.job(seed, tmp_path / "runs"), 50 + better + 10 * seed, 7.0)
    watcher = Quiet()
    found = comparison.run_ladder(asked, watcher)
    assert watcher.trained == []
    return found


def test_ladder_rows_are_worked_by_hand(result: dict[str, Any]) -> None:
    first, second = result["rungs"]
    assert (first["algo"], second["algo"]) == ("reward-to-go", "a2c")
    # finals 150 and 160; a line from 0 has half its end as mean: 75 and 80
    assert second["final"]["iqm"] == 155
    assert second["auc"]["iqm"] == pytest.approx(77.5)
    assert second["auc"]["worst"] == pytest.approx(75)
    assert second["eval"]["mean"] == 7
    # KL: (0 + .02)/2
    assert second["kl"] == pytest.approx(0.01)
    assert second["ess"] == pytest.approx(0.9)


def test_ladder_threshold_counts_who_reached_it(result: dict[str, Any]) -> None:
    first, second = result["rungs"]
    assert first["threshold"] == {"median_steps": None, "reached": 0, "of": 2}
    assert second["threshold"] == {"median_steps": 1000.0, "reached": 2, "of": 2}


def test_ladder_judges_its_order(result: dict[str, Any]) -> None:
    [claim] = result["order"]
    # areas 25 and 30 against 75 and 80
    assert claim["difference"] == pytest.approx(50)
    assert claim["verdict"] == "undecided"  # two seeds


def test_ladder_files_hold_the_result(result: dict[str, Any], tmp_path: Path) -> None:
    paths = result_files.write(result, tmp_path / "files")
    stored = json.loads(Path(paths["json"]).read_text())
    assert stored["rungs"][1]["auc"] == result["rungs"][1]["auc"]
    assert len(stored["curves"]["rungs"]["a2c"]["iqm"]) == 201
    with open(paths["csv"], newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["algo"] for row in rows] == ["reward-to-go", "a2c"]
    assert float(rows[1]["auc_iqm"]) == pytest.approx(77.5)
    assert "algo.gae_lambda" in json.loads(rows[1]["settings"])
    assert rows[0]["steps_to_threshold_median"] == ""


def test_tune_takes_the_rate_with_the_best_area(tmp_path: Path) -> None:
    asked = request(tmp_path, tune=(1e-3, 1e-2, 3e-2), tune_seeds=(100, 101))
    for rung in make_rungs(asked):
        for lr, final in ((1e-3, 10.0), (1e-2, 90.0), (3e-2, 20.0)):
            for seed in asked.tune_seeds:
                tried = rung.with_lr(lr)
                finish(tried.job(seed, tmp_path / "tuning", f"-lr{lr:g}"), final, 0.0)
    rungs, record = comparison.tune(asked, make_rungs(asked), Quiet())
    assert [rung.config.optimizer.lr for rung in rungs] == [1e-2, 1e-2]
    assert record["rungs"]["a2c"]["auc_iqm"]["0.01"] == pytest.approx(45)
    assert record["seeds"] == [100, 101]


def test_tune_avoids_a_rate_that_diverged_and_leaves_given_ones(tmp_path: Path) -> None:
    asked = request(
        tmp_path, tune=(1e-3, 1e-2), tune_seeds=(100,), lrs={"reward-to-go": 0.5}
    )
    rungs = make_rungs(asked)
    for lr, final in ((1e-3, 10.0), (1e-2, 90.0)):
        job = rungs[1].with_lr(lr).job(100, tmp_path / "tuning", f"-lr{lr:g}")
        finish(job, final, 0.0)
        if lr == 1e-2:
            job.run.result_json.unlink()
            job.diverged_json.write_text('{"message": "not finite"}')
    chosen, record = comparison.tune(asked, rungs, Quiet())
    assert [rung.config.optimizer.lr for rung in chosen] == [0.5, 1e-3]
    assert record["rungs"]["a2c"]["diverged_at"] == [1e-2]


def test_diverged_run_keeps_its_last_return(tmp_path: Path) -> None:
    asked = request(tmp_path, algos=("a2c",), seeds=(0,))
    [rung] = make_rungs(asked)
    job = rung.job(0, tmp_path / "runs")
    finish(job, 40.0, 0.0)
    job.run.result_json.unlink()
    job.diverged_json.write_text('{"message": "not finite"}')
    [row] = comparison.run_ladder(asked, Quiet())["rungs"]
    assert (row["diverged"], row["eval"], row["final"]["iqm"]) == (1, None, 40)


def test_runs_side_by_side_are_read_one_by_one(tmp_path: Path) -> None:
    asked = request(tmp_path, env="func:CartPole-v1", algos=("a2c",), seeds=(0, 1, 2))
    [rung] = make_rungs(asked)
    job = rung.side_by_side(asked.seeds, tmp_path / "runs")
    run = RunDirectory.create(job.runs_dir, job.name, "a2c", asked.env)
    run.write_config(to_yaml(job.config))
    finals = (100.0, 200.0, 50.0)  # the last diverged half way
    rows = [
        {"steps": s, "member": m, "return_mean": final * s / STEPS, "episodes": 100}
        for s in (0, STEPS // 2, STEPS)
        for m, final in enumerate(finals)
        if not (m == 2 and s == STEPS)
    ]
    run.metrics_jsonl.write_text("".join(json.dumps(row) + "\n" for row in rows))
    members = [
        {"member": m, "eval": {"return_mean": 7.0}, "diverged": None} for m in (0, 1)
    ]
    last = {"member": 2, "eval": None, "diverged": "not finite"}
    run.write_result({"ok": True, "members": [*members, last]})
    watcher = Quiet()
    [row] = comparison.run_ladder(asked, watcher)["rungs"]
    assert watcher.trained == []
    assert [each["seed"] for each in row["runs"]] == [0, 1, 2]
    assert [each["final"] for each in row["runs"]] == [100, 200, 25]
    assert [each["eval"] for each in row["runs"]] == [7.0, 7.0, None]
    assert row["diverged"] == 1


def test_threshold_is_the_environments_own() -> None:
    assert comparison.known_threshold("CartPole-v1") == 475
    assert comparison.known_threshold("func:CartPole-v1") == 475
    assert comparison.known_threshold("func:Pendulum-v1") is None


def command(out: Path) -> list[str]:
    words = "ladder --env CartPole-v1 --algos reinforce,a2c --seeds 2 --steps 2000"
    sets = [
        "network.hidden=[8]",
        "eval.final_episodes=20",
        "optimizer.lr=1e-2",
        "eval.every=0",
        "checkpoint.every=1000",
    ]
    more = [word for text in sets for word in ("--set", text)]
    start = [sys.executable, "-m", "pgcli", *words.split(), "--jobs", "2", "--json"]
    return [*start, "--out", str(out), *more]


@pytest.mark.slow
def test_ladder_stopped_and_given_again_repeats_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with subprocess.Popen(
        command(out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as first:
        deadline = time.monotonic() + 120
        while not (done := list(out.glob("runs/*/result.json"))):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        first.send_signal(signal.SIGTERM)
        stopped = json.loads(first.communicate()[0])
    assert (first.returncode, stopped["ok"]) == (143, False)
    stamps = {path: os.stat(path).st_mtime_ns for path in done}

    again = subprocess.run(command(out), capture_output=True, text=True, cwd=ROOT)
    assert again.returncode == 0, again.stderr
    result = json.loads(again.stdout)
    assert [row["algo"] for row in result["rungs"]] == ["reinforce", "a2c"]
    assert all(len(row["runs"]) == 2 for row in result["rungs"])
    assert result["common"]["network.hidden"] == [8]
    assert {path: os.stat(path).st_mtime_ns for path in done} == stamps
    assert "finished before" in again.stderr
    for path in result["files"].values():
        assert Path(path).is_file()
