"""A run in facts and advice, and on one screen."""

import json
from pathlib import Path

import pytest
from support.written_runs import ended, evaluation, returns, write_run

from pgcli.cli.main import main
from pgcli.errors import UsageError
from pgcli.report.overview import Overview


def test_finished_run_has_its_scores_with_what_they_belong_to(tmp_path: Path) -> None:
    run = write_run(tmp_path, "a", "steps=300", result=ended(9.0))
    (run.checkpoints / "000000003").mkdir()
    run.mark_best("000000002", 10.0)
    facts = {
        name: f"{value}; {detail}" for name, value, detail in Overview.of(run).facts()
    }
    assert facts == {
        "state": "finished; 300 of 300 steps, budget",
        "eval return": "9.0; [7.0, 11.0] 95 %, 20 episodes, deterministic; final "
        "evaluation, checkpoint 000000003",
        "best eval": "10.0; checkpoint 000000002",
        "train return": "8.0; last 100 episodes",
        "time": "0:01:01; compile 2.5 s, 6.00 steps/s",
    }


def test_running_run_has_its_share_of_the_budget_and_the_time_left(
    tmp_path: Path,
) -> None:
    run = write_run(
        tmp_path, "a", "steps=1200", metrics=returns(1, 2, 3), evals=[evaluation(4.0)]
    )
    timing = {"steps": 300, "seconds": 30.0, "steps_per_second": 99.0}
    run.timing_jsonl.write_text(json.dumps(timing) + "\n")
    with run.lock():
        facts = {fact.name: fact for fact in Overview.of(run).facts()}
    assert facts["state"][1:] == ("running", "300 of 1,200 steps, 25%")
    assert facts["train return"].value == "3.0"
    assert facts["eval return"].detail.endswith("evaluation after iteration 3")
    # 900 steps at 10 a second, the mean so far
    assert facts["time"].detail == "10.0 steps/s, about 0:01:30 left"


def test_advice_is_that_of_training_and_of_the_result(tmp_path: Path) -> None:
    rows = returns(*[1.0] * 30, kl=0.5)
    members = [{"member": 0, "seed": 4, "eval": None, "diverged": "not finite"}]
    run = write_run(tmp_path, "a", metrics=rows, result=ended(1.0, members=members))
    run.mark_best("000000002", 3.5)  # above 1 + 2
    changes, diverged, best = Overview.of(run).advice()
    # the tenth of the iterations
    assert changes.startswith("from step 1,000: the policy changes too much")
    assert diverged == "seed 4 diverged: not finite"
    assert best.startswith("the best evaluation (3.5) is above the interval")
    stopped = write_run(tmp_path, "b", metrics=returns(1.0, 1.0, skipped=4))
    gradients, text = Overview.of(stopped).advice()
    assert gradients.startswith("from step 100: gradients were not finite in 2 rows")
    assert text == "the run is not finished: `pgcli resume b` continues it"


def test_run_that_never_began_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path, "a")
    run.config_yaml.unlink()
    with pytest.raises(UsageError, match="stopped before it began"):
        Overview.of(run)


def test_runs_show_is_one_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members = [
        {"member": m, "seed": m, "train_return_mean": 5.0, "eval": evaluation(m)}
        for m in range(12)
    ]
    rows = [{**row, "member": m} for row in returns(1, 2, 3) for m in range(12)]
    run = write_run(
        tmp_path, "a", "seeds=12", metrics=rows, result=ended(5.0, members=members)
    )
    assert main(["runs", "show", str(run.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 35
    assert "trained       ppo2 on func:CartPole-v1, seeds 0 to 11" in lines
    assert any("│" in line for line in lines)
    assert lines[-1] == "4 more: `pgcli runs show a --json`"


def test_runs_show_gives_all_values_in_a_file_that_train_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path, "a", "optimizer.lr=0.5")
    assert main(["runs", "show", str(run.path), "--config"]) == 0
    text = capsys.readouterr().out
    (line,) = (line for line in text.splitlines() if line.startswith("  lr: 0.5"))
    assert line.endswith("# --set")
    (tmp_path / "my.yaml").write_text(text)
    assert main(["config", "check", str(tmp_path / "my.yaml")]) == 0


def test_runs_show_answers_in_json_before_the_first_iteration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path, "a")
    assert main(["runs", "show", str(run.path)]) == 0
    assert "stopped  0 of" in capsys.readouterr().out
    assert main(["runs", "show", str(run.path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["status"] == "stopped"
    assert (answer["result"], answer["best"]) == (None, None)
    assert answer["config"]["algo"]["name"] == "ppo2"
    assert answer["meta"]["versions"] == {"jax": "0.10.2"}
