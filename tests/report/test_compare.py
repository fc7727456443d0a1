"""Groups of runs compared: scores, intervals, thresholds, mistakes."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.small_runs import resolved

from pgcli.cli.main import main
from pgcli.config.dump import to_yaml
from pgcli.errors import UsageError
from pgcli.report.compare import compare, pictures
from pgcli.storage.run_directory import RunDirectory


def run_of(
    runs_dir: Path, name: str, scores: list[float], *sets: str, ended: bool = True
) -> RunDirectory:
    """A run whose member m was evaluated at steps 10, 20 and 30: 0, half, its score."""
    run = RunDirectory.create(
        runs_dir, name=name, algo="ppo2", env_id="func:CartPole-v1"
    )
    config = resolved("func:CartPole-v1", f"seeds={len(scores)}", *sets).config
    run.write_config(to_yaml(config))
    many = len(scores) > 1
    rows: list[dict[str, Any]] = [
        {"steps": step, "return_mean": share * score, **({"member": m} if many else {})}
        for step, share in ((10, 0.0), (20, 0.5), (30, 1.0))
        for m, score in enumerate(scores)
    ]
    run.eval_jsonl.write_text("".join(json.dumps(row) + "\n" for row in rows))
    members = [{"member": m, "eval": {"return_mean": s}} for m, s in enumerate(scores)]
    final = {"return_mean": float(np.mean(scores))}
    result = {"eval": final, **({"members": members} if many else {})}
    if ended:
        run.write_result(result)
    return run


def test_seeds_of_each_run_are_a_group(tmp_path: Path) -> None:
    low = run_of(tmp_path, "low", [1.0, 2.0, 3.0, 4.0])
    high = run_of(tmp_path, "high", [3.0, 9.0])
    result = compare([low, high], threshold=2.0)
    first, second = result["groups"]
    assert (first["group"], first["runs"], first["iqm"]) == ("low", 4, 2.5)
    assert first["improvement"] is None
    # 3 beats 1 and 2, ties with 3; 9 beats all: (2.5 + 4) of 8
    assert second["improvement"]["probability"] == pytest.approx(6.5 / 8)
    low_end, high_end = second["improvement"]["ci"]
    assert low_end < 6.5 / 8 <= high_end
    # half the score at step 20, the score at step 30
    assert first["steps_to_threshold"] == {"median": 30.0, "reached": 3}
    assert second["steps_to_threshold"] == {"median": 25.0, "reached": 2}


def test_groups_by_key_mix_single_runs_and_members(tmp_path: Path) -> None:
    runs = [
        run_of(tmp_path, "a", [1.0, 2.0], "optimizer.lr=1e-3"),
        run_of(tmp_path, "b", [6.0], "optimizer.lr=1e-2"),
        run_of(tmp_path, "c", [3.0], "optimizer.lr=1e-3", ended=False),
    ]
    result = compare(runs, group_by="optimizer.lr")
    found = {row["group"]: row["scores"] for row in result["groups"]}
    assert found == {"optimizer.lr=0.001": [1.0, 2.0, 3.0], "optimizer.lr=0.01": [6.0]}
    curves, profile = pictures(runs, result, "optimizer.lr")
    assert len(curves.curves) == 2
    shares = profile.curves[0].y
    assert (shares[0], shares[-1]) == (1.0, 0.0)
    at = np.searchsorted(profile.curves[0].x, 1.5)
    assert shares[at] == pytest.approx(2 / 3)


def test_mistakes_are_named(tmp_path: Path) -> None:
    here = run_of(tmp_path, "here", [1.0])
    other = run_of(tmp_path, "other", [1.0])
    other.write_config(to_yaml(resolved("func:Pendulum-v1").config))
    with pytest.raises(UsageError, match=r"several environments: func:CartPole-v1, "):
        compare([here, other])
    empty = run_of(tmp_path, "empty", [1.0], ended=False)
    empty.eval_jsonl.unlink()
    with pytest.raises(UsageError, match="no run has been evaluated yet"):
        compare([empty])
    assert compare([here, empty])["not_evaluated"] == 1


def test_single_runs_are_not_said_to_beat_each_other(tmp_path: Path) -> None:
    low, high = run_of(tmp_path, "low", [1.0]), run_of(tmp_path, "high", [3.0])
    assert [row["improvement"] for row in compare([low, high])["groups"]] == [
        None,
        None,
    ]


def test_command_prints_a_table_and_writes_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_of(tmp_path, "low", [1.0, 2.0])
    run_of(tmp_path, "high", [3.0, 9.0])
    words = ["compare", "low", "high", "--runs-dir", str(tmp_path), "--threshold", "4"]
    files = ["-o", str(tmp_path / "c.svg"), "--csv", str(tmp_path / "c.csv")]
    assert main([*words, *files]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["GROUP", "RUNS", "IQM"]
    assert lines[2].split()[:2] == ["high", "2"]
    assert lines[2].endswith("1 of 2")
    assert "P(BETTER)" in lines[0]
    assert (tmp_path / "c.svg").read_text().startswith("<svg")
    with (tmp_path / "c.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["probability_of_improvement"] for row in rows] == ["", "1.0"]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["baseline"] == "low"
