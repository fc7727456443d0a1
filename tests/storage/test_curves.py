"""Curves of runs: members grouped, clocks joined, values where the logs have them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.small_runs import resolved

from pgcli.charts.svg import chart
from pgcli.cli.main import main
from pgcli.config.dump import to_yaml
from pgcli.errors import UsageError
from pgcli.storage.curves import GRID, panels, picture
from pgcli.storage.run_directory import RunDirectory

SETS = ("seeds=2", "grid={optimizer.lr: [1e-3, 1e-2]}")


def log(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def grid(tmp_path: Path) -> RunDirectory:
    """A run of two values × two seeds whose returns are steps × (1 + member)."""
    run = RunDirectory.create(
        tmp_path / "runs", name="grid", algo="ppo2", env_id="func:CartPole-v1"
    )
    run.write_config(to_yaml(resolved("func:CartPole-v1", *SETS).config))
    steps = (10, 20, 30)
    each = [(step, member) for step in steps for member in range(4)]
    log(
        run.metrics_jsonl,
        [
            {
                "steps": step,
                "episodes": step // 5,
                "member": member,
                "return_mean": None if step == 10 else float(step * (1 + member)),
            }
            for step, member in each
        ],
    )
    log(
        run.eval_jsonl,
        [{"steps": s, "member": m, "return_mean": 5.0} for s, m in each if s == 30],
    )
    # a second process began after step 20
    log(
        run.timing_jsonl,
        [{"steps": s, "seconds": t} for s, t in ((10, 1.0), (20, 2.0), (30, 0.5))],
    )
    return run


def test_seeds_of_a_grid_point_are_one_curve(grid: RunDirectory) -> None:
    training, evaluation = panels(
        [grid], x="steps", keys=["return_mean", "eval.return_mean"]
    )
    labels = [curve.label for curve in training.curves]
    assert labels == [f"grid optimizer.lr={lr} (2 runs)" for lr in ("0.001", "0.01")]
    first = training.curves[0]
    assert len(first.x) == GRID
    assert (first.x[0], first.x[-1]) == (20, 30)
    assert (first.y[0], first.y[-1]) == (30, 45)  # of 20 and 40, of 30 and 60
    assert first.low is not None
    assert (first.low <= first.y).all()
    assert [curve.y[-1] for curve in evaluation.curves] == [5.0, 5.0]


def test_groups_are_values_of_a_key(grid: RunDirectory) -> None:
    (panel,) = panels([grid], x="steps", keys=["return_mean"], group_by="seed")
    assert [curve.label for curve in panel.curves] == [
        "seed=0 (2 runs)",
        "seed=1 (2 runs)",
    ]
    assert panel.curves[0].y[-1] == 60  # members 0 and 2
    with pytest.raises(UsageError, match="`--group-by sed`: no such key"):
        panels([grid], x="steps", keys=["return_mean"], group_by="sed")


def test_seconds_of_resumed_processes_add_up(grid: RunDirectory) -> None:
    (panel,) = panels([grid], x="seconds", keys=["return_mean"])
    assert panel.curves[0].x[[0, -1]].tolist() == [2.0, 2.5]


def test_evaluations_have_the_episodes_of_their_step(grid: RunDirectory) -> None:
    (panel,) = panels([grid], x="episodes", keys=["eval.return_mean"])
    assert (panel.curves[0].x == 6).all()


def test_run_on_its_own_has_the_interval_of_its_evaluations(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, name="a", algo="ppo2", env_id="CartPole-v1")
    run.write_config(to_yaml(resolved("CartPole-v1").config))
    intervals = ([1.0, 4.0], None)  # the episodes of the second are all the same
    rows = [
        {"steps": 10 * i, "return_mean": 2.0, "return_ci": ends}
        for i, ends in enumerate(intervals)
    ]
    log(run.eval_jsonl, rows)
    (panel,) = panels([run], x="steps", keys=["eval.return_mean"])
    (curve,) = panel.curves
    np.testing.assert_array_equal(curve.low, [1.0, np.nan])
    np.testing.assert_array_equal(curve.high, [4.0, np.nan])
    # the area of a single point
    assert 'Z" fill="#0072b2"' in chart([panel])
    assert "nan" not in chart([panel])
    log(run.eval_jsonl, [{**row, "return_ci": None} for row in rows])
    (panel,) = panels([run], x="steps", keys=["eval.return_mean"])
    assert panel.curves[0].low is None


def test_what_is_not_there_is_named(grid: RunDirectory) -> None:
    with pytest.raises(UsageError, match="no run has a value of `klx`"):
        panels([grid], x="steps", keys=["klx"])
    log(grid.metrics_jsonl, [])
    log(grid.eval_jsonl, [])
    with pytest.raises(UsageError, match="no episode has ended"):
        panels([grid], x="steps", keys=["return_mean"])
    assert picture(grid, resolved("func:CartPole-v1", *SETS).config) is None


def test_command_writes_pictures_and_answers_in_json(
    grid: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["plot", str(grid.path), "--y", "return_mean"]
    assert main([*words, "--json", "-o", str(tmp_path / "c.svg")]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (tmp_path / "c.svg").read_text().startswith("<svg")
    (panel,) = answer["panels"]
    assert panel["key"] == "return_mean"
    assert np.shape(panel["curves"][1]["y"]) == (GRID,)
    assert main(words) == 0
    assert "━━ grid optimizer.lr=0.01 (2 runs)" in capsys.readouterr().out
    for bad, message in (
        (["-o", "c.jpg"], "expected a file that ends in .svg or .png"),
        (["-o", str(tmp_path / "no" / "c.svg")], "there is no directory"),
        (["--x", "time"], "expected steps, seconds, episodes, iteration"),
    ):
        assert main([*words, *bad]) == 2
        assert message in capsys.readouterr().err
