"""The best trial, what selection added to it, and pictures."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pgcli.cli.main import main
from pgcli.cli.terminal import sweep_text
from pgcli.cli.terminal.console import Terminal
from pgcli.errors import UsageError
from pgcli.sweep import plan as plans
from pgcli.sweep import study, winner
from pgcli.sweep.directory import SweepDirectory
from pgcli.sweep.pictures import panels
from pgcli.sweep.results import best_of
from pgcli.sweep.watcher import Snapshot

TEXT = """\
config: {env.id: func:CartPole-v1, steps: 2000, seeds: 2}
sampler: grid
space: {optimizer.lr: [1e-4, 1e-3, 1e-2]}
"""


def results(*scores: float | None) -> dict[str, Any]:
    rows = [
        {"trial": n, "score": x, "ci": [0, 1], "values": {"optimizer.lr": 10.0**-n}}
        for n, x in enumerate(scores)
    ]
    best = max((r for r in rows if r["score"] is not None), key=lambda r: r["score"])
    return {"path": "here", "trials": rows, "best": best, "importance": {}}


def fresh(score: float) -> Mapping[str, Any]:
    return {"eval": {"return_mean": score, "return_ci": [score, score]}}


def test_selection_is_the_part_of_the_lead_that_fresh_seeds_lose() -> None:
    found = results(10.0, 20.0, None, 100.0)
    # of the lead 100 - 20 = 80 over the median trial, fresh seeds keep 60
    told = winner.selection(found, fresh(80.0))
    assert told["median_trial"] == 20.0
    assert told["share_of_lead"] == 0.25
    assert winner.selection(found, fresh(120.0))["share_of_lead"] == 0.0
    assert winner.selection(found, fresh(0.0))["share_of_lead"] == 1.0
    assert winner.selection(results(5.0), fresh(4.0))["share_of_lead"] is None


def test_best_trial_is_trained_on_seeds_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(TEXT)
    plan = plans.load(file)
    labels = {"optimizer.lr": 1e-3}
    config = winner.fresh(plan, labels, range(100, 110)).config
    assert (config.seed, config.seeds, config.optimizer.lr) == (100, 10, 1e-3)
    with pytest.raises(UsageError, match="used the seeds 0 to 1"):
        winner.fresh(plan, labels, range(1, 4))


def test_panels_have_the_best_so_far_and_scores_by_value() -> None:
    drawn = panels(results(1.0, None, 3.0, 2.0))
    assert [panel.title for panel in drawn] == [
        "return, IQM over seeds",
        "return by optimizer.lr",
    ]
    each, best = drawn[0].curves
    assert each.x.tolist() == [0, 2, 3]
    assert best.y.tolist() == [1, 3, 3]
    [curve] = drawn[1].curves
    assert curve.x.tolist() == [-3, -2, 0]
    assert curve.y.tolist() == [2, 3, 1]


def test_no_score_is_an_error_with_words() -> None:
    with pytest.raises(UsageError, match="no trial has a score"):
        best_of({"best": None, "path": "here"})


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepDirectory:
    """A sweep in `runs/sweeps/my` whose trials have ended."""
    pytest.importorskip("optuna")
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(TEXT)
    plan = plans.load(Path("my.yaml"))
    directory = SweepDirectory(Path("runs/sweeps/my"))
    storage = f"journal://{tmp_path / 'study.log'}"
    directory.prepare(plan, {"storage": storage, "env_modules": []})
    for number, score in enumerate((10.0, 30.0, 20.0)):
        labels = plan.labels(number)
        ended = {"state": "complete", "score": score, "ci": [0, 1], "scores": [score]}
        record = {"trial": number, "labels": labels, "values": labels, **ended}
        directory.write_record(number, record)
    study.create(directory, plan, storage)
    return directory


def test_commands_show_the_trials_the_best_first(
    finished: SweepDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("my", "my.yaml", "runs/sweeps/my"):
        assert main(["sweep", "status", name]) == 0
        rows = capsys.readouterr().out.splitlines()[1:4]
        assert [row.split()[0] for row in rows] == ["1", "2", "0"]
    assert main(["sweep", "best", "my", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["trial"], data["values"]) == (1, {"optimizer.lr": 1e-3})
    assert "optimizer.lr=0.001" in data["command"]
    assert main(["sweep", "plot", "my", "-o", "my.svg"]) == 0
    assert "best so far" in Path("my.svg").read_text()


def test_finished_sweep_starts_no_worker(
    finished: SweepDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", "my.yaml", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["counts"]["complete"] == 3
    assert not list(finished.workers.glob("*.log"))


def test_misuse_has_words(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(TEXT.replace("grid", "tpe\ntrials: 3"))
    for words, message in (
        (["status", "nothing"], "not the directory of a sweep"),
        (["best", "nothing", "--seeds", "5:6"], "needs --train"),
        (["my.yaml", "--print"], "chooses trials by the results of others"),
        (["my.yaml", "--workers", "0"], "at least 1"),
        (["worker", "nothing"], "not the directory of a sweep"),
    ):
        assert main(["sweep", *words]) == 2
        assert message in capsys.readouterr().err


def snapshot(complete: int, best: float | None) -> Snapshot:
    counts = {"waiting": 5 - complete, "running": 1, "complete": complete}
    row = {"score": best, "ci": [1, 9], "run": "trial-0001", "values": {"a.b": 0.5}}
    return Snapshot(
        name="my",
        sampler="tpe",
        total=6,
        counts={**counts, "pruned": 0, "fail": 1},
        best=None if best is None else row,
        running=[("trial-0003", 0.42)],
        importance={"a.b": 0.9},
        left=75.0,
    )


def test_progress_is_a_line_per_trial_that_ends() -> None:
    err = io.StringIO()
    terminal = Terminal(io.StringIO(), err, {})
    progress = sweep_text.Progress(terminal)
    for state in (snapshot(0, None), snapshot(0, None), snapshot(1, 5.0)):
        progress(state)
    progress.close()
    terminal.close(0)
    assert err.getvalue().splitlines() == [
        "my  1/6 trials, 1 failed  0:01:15 left",
        "my  2/6 trials, 1 failed  best 5.0  0:01:15 left",
    ]


def test_live_view_has_running_trials_the_best_one_and_importance() -> None:
    progress = sweep_text.Progress(Terminal(io.StringIO(), io.StringIO(), {}))
    progress(snapshot(2, 5.0))
    lines = ["".join(text for text, _ in line) for line in progress.lines(80)]
    assert lines == [
        "my  3/6 trials, 1 failed  tpe  0:01:15 left",
        " running    trial-0003 42%",
        " best       5.0 [1.0, 9.0]  trial-0001: a.b 0.5",
        " importance a.b 90%",
    ]
    progress(snapshot(5, 5.0))
    assert "left" not in progress.lines(80)[0][1][0]


@pytest.mark.parametrize("words", ["my.yaml --dry-run", "--dry-run my.yaml", "run my"])
def test_a_file_needs_no_command(
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("my.yaml", "my"):
        Path(name).write_text(TEXT)
    assert main(["sweep", *words.split(), "--json", "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["num_trials"] == 3


def test_a_misspelt_command_is_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "statsu", "my"]) == 2
    assert "did you mean `status`?" in capsys.readouterr().err
