"""Runs with members end to end: files, result, evaluation, resume, mistakes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.small_runs import BATCH, resolved

from pgcli.cli.main import main
from pgcli.config.errors import ConfigError
from pgcli.errors import UsageError
from pgcli.training.evaluation.evaluate import evaluate
from pgcli.training.evaluation.saved_agents import load_agent
from pgcli.training.loops.base import Row
from pgcli.training.members.tracker import MembersTracker
from pgcli.training.run import resume, train

ENV = "func:CartPole-v1"
GRID = "grid={optimizer.lr: [1e-3, 1e-2]}"
ASKED = resolved(ENV, f"steps={2 * BATCH}", f"eval.every={BATCH}", "seeds=2", GRID)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def averages() -> list[Row]:
    """Rows that were averaged over members while `result` was trained."""
    return []


@pytest.fixture(scope="module")
def result(runs_dir: Path, averages: list[Row]) -> dict[str, Any]:
    mean_row = MembersTracker._mean_row

    def seen(tracker: MembersTracker) -> Row:
        averages.append(mean_row(tracker))
        return averages[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MembersTracker, "_mean_row", seen)
        return train(ASKED, runs_dir=runs_dir, name="grid")


def test_rows_say_whose_they_are(result: dict[str, Any], runs_dir: Path) -> None:
    rows = lines(runs_dir / "grid" / "metrics.jsonl")
    assert [
        (r["iteration"], r["member"], r["seed"], r["optimizer.lr"]) for r in rows
    ] == [
        (i, m, m % 2, lr)
        for i in (1, 2)
        for m, lr in enumerate((1e-3, 1e-3, 1e-2, 1e-2))
    ]
    evals = lines(runs_dir / "grid" / "eval.jsonl")
    assert [(row["steps"], row["member"]) for row in evals] == [
        (steps, m) for steps in (BATCH, 2 * BATCH) for m in range(4)
    ]


def test_members_are_averaged_once_a_chunk_not_once_a_row(
    result: dict[str, Any], runs_dir: Path, averages: list[Row]
) -> None:
    # for thousands of members, one average takes as long as all their rows
    chunks = lines(runs_dir / "grid" / "timing.jsonl")
    assert [row["steps"] for row in averages] == [row["steps"] for row in chunks]
    newest = lines(runs_dir / "grid" / "metrics.jsonl")[-4:]
    mean = sum(row["return_mean"] for row in newest) / 4
    assert averages[-1]["return_mean"] == pytest.approx(mean)
    assert result["train"]["return_mean"] == pytest.approx(mean)


def test_result_has_an_entry_per_member_and_per_cell(result: dict[str, Any]) -> None:
    assert [entry["seed"] for entry in result["members"]] == [0, 1, 0, 1]
    assert [cell["values"] for cell in result["cells"]] == [
        {"optimizer.lr": 1e-3},
        {"optimizer.lr": 1e-2},
    ]
    means = [entry["eval"]["return_mean"] for entry in result["members"]]
    assert result["eval"]["return_mean"] == pytest.approx(sum(means) / 4)
    assert result["eval"]["runs"] == 4
    first = result["cells"][0]["eval"]["mean"]
    assert first == pytest.approx((means[0] + means[1]) / 2)


def test_evaluation_of_all_members_or_of_one(
    result: dict[str, Any], runs_dir: Path
) -> None:
    every = evaluate("grid", runs_dir=runs_dir, episodes=6)
    assert [entry["seed"] for entry in every["members"]] == [0, 1, 0, 1]
    for cell, (a, b) in zip(every["cells"], ((0, 1), (2, 3)), strict=True):
        pair = [every["members"][m]["return_mean"] for m in (a, b)]
        assert cell["eval"]["mean"] == pytest.approx(sum(pair) / 2)
    one = evaluate("grid", runs_dir=runs_dir, episodes=6, member="1,optimizer.lr=1e-2")
    assert (one["run_seed"], one["seed"]) == (1, 0)
    assert one["return_mean"] == every["members"][3]["return_mean"]
    assert one["member"] == {"member": 3, "seed": 1, "optimizer.lr": 1e-2}


def test_eval_of_a_grid_shows_each_value_and_no_score_over_all(
    result: dict[str, Any], runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("--runs-dir", str(runs_dir), "--episodes", "2")
    assert main(["eval", "grid", *common]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^optimizer\.lr  RUNS  EVAL RETURN, IQM$", text, re.MULTILINE)
    assert re.search(r"^0\.001 +2 ", text, re.MULTILINE)
    assert not re.search(r"^return ", text, re.MULTILINE)
    one = ("--member", "1,optimizer.lr=1e-2", "--seed", "7")
    assert main(["eval", "grid", *common, *one]) == 0
    text = capsys.readouterr().out
    assert f"{ENV}, member 3: seed 1, optimizer.lr 0.01\n" in text
    assert "2, seed 7\n" in text


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (None, "this run has 4 members"),
        ("1", "matches 2 of 4 members"),
        ("7", "matches 0 of 4 members"),
        ("gamma=1", "matches 0 of 4 members"),
        ("x", "matches 0 of 4 members"),
    ],
)
def test_member_that_is_not_one_is_a_mistake(
    result: dict[str, Any], member: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        load_agent(Path(result["checkpoint"]), member)


@pytest.mark.slow
def test_host_members_have_the_same_layout(runs_dir: Path) -> None:
    asked = resolved("CartPole-v1", f"steps={2 * BATCH}", "eval.every=0", "seeds=2")
    report = train(asked, runs_dir=runs_dir, name="host")
    assert [entry["seed"] for entry in report["members"]] == [0, 1]
    rows = lines(runs_dir / "host" / "metrics.jsonl")
    assert sorted((r["seed"], r["iteration"]) for r in rows) == [
        (seed, i) for seed in (0, 1) for i in (1, 2)
    ]
    alone = resume("host", runs_dir=runs_dir, steps=4 * BATCH, member="1")
    again = resume("host", runs_dir=runs_dir, steps=4 * BATCH)
    assert [r["resume_level"] for r in (alone, again)] == ["exact", "exact"]
    twin = [r for r in lines(runs_dir / "host" / "metrics.jsonl") if r["member"] == 1]
    rows = lines(runs_dir / "host-member1" / "metrics.jsonl")
    assert rows == [{k: r[k] for k in r if k not in ("member", "seed")} for r in twin]
    assert again["members"][1]["eval"].items() <= alone["eval"].items()


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("{optimizer.lrr: [1]}", "`optimizer.lrr` is not a number"),
        ("{algo.num_epochs: [1, 2]}", "`algo.num_epochs` is not a number"),
        ("{seed: [1, 2]}", "`seed` is not a number"),
        ("{optimizer.lr: [-1]}", "must be a finite number, above 0, not -1"),
        ("{optimizer.lr: [1e-3, 1e-3]}", "contains a value twice"),
        ("{optimizer.lr: []}", "contains no value"),
        ("{optimizer.lr: [x]}", "must be a list of numbers"),
        ("{optimizer.lr: 3}", "must be a list of numbers"),
        ("3", "`grid` must be a mapping"),
    ],
)
def test_bad_grid_is_refused(grid: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved(ENV, f"grid={grid}")
    assert message in str(caught.value)


def test_seeds_beyond_their_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="is not below 2³²"):
        resolved(ENV, "seeds=2", seed=2**32 - 1)


def test_devices_that_would_stay_idle_are_refused() -> None:
    for seeds, devices, used in ((2, 3, 2), (5, 4, 3), (9, 8, 5)):
        with pytest.raises(ConfigError, match=f"{devices} devices than on {used}"):
            resolved(ENV, f"seeds={seeds}", f"parallel.devices={devices}")
    resolved(ENV, "seeds=3", "parallel.devices=2")


def test_resume_continues_every_member_or_one_alone(tmp_path: Path) -> None:
    runs_dir = tmp_path
    train(ASKED, runs_dir=runs_dir, name="grid")
    own = [r for r in lines(runs_dir / "grid" / "metrics.jsonl") if r["member"] == 3]
    before = len(own)
    more = (before + 2) * BATCH
    chosen = "1,optimizer.lr=1e-2"
    alone = resume("grid", runs_dir=runs_dir, steps=more, member=chosen)
    assert alone["run"] == "grid-member3"
    assert alone["seed"] == 1
    assert alone["seeds"] == 1
    assert alone["config"]["optimizer"]["lr"] == 1e-2
    assert alone["steps"]["used"] == more
    assert alone["resume_level"] == "state-exact"
    rows = lines(runs_dir / "grid-member3" / "metrics.jsonl")
    assert [row["iteration"] for row in rows] == list(range(1, before + 3))
    assert [r["policy_loss"] for r in rows[:before]] == [r["policy_loss"] for r in own]
    assert "member" not in rows[0]
    together = resume("grid", runs_dir=runs_dir, steps=more)
    assert together["resume_level"] == "exact"
    theirs = lines(runs_dir / "grid" / "metrics.jsonl")
    numbers = [row["iteration"] for row in theirs]
    assert numbers == [i for i in range(1, before + 3) for _ in range(4)]
    # the same run in another program: equal up to float32 rounding
    for row in rows[before:]:
        twin = next(
            r for r in theirs if (r["member"], r["iteration"]) == (3, row["iteration"])
        )
        assert row["policy_loss"] == pytest.approx(twin["policy_loss"], abs=1e-5)
        assert row["return_mean"] == pytest.approx(twin["return_mean"], abs=1e-4)
    assert together["members"][3]["eval"]["return_mean"] == pytest.approx(
        alone["eval"]["return_mean"], abs=1e-3
    )
    again = resume("grid", runs_dir=runs_dir, member=chosen)
    assert again["run"] == "grid-member3"


def test_resume_of_a_member_that_is_not_there_is_refused(
    result: dict[str, Any], runs_dir: Path
) -> None:
    with pytest.raises(UsageError, match="matches 0 of 4"):
        resume("grid", runs_dir=runs_dir, member="7,optimizer.lr=1e-2")
