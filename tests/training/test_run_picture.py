"""`curve.svg` of a run: where it is drawn, and what it never does."""

from pathlib import Path

import pytest
from support.small_runs import config

from pgcli.storage.run_directory import RunDirectory
from pgcli.training.run_picture import RunPicture

CONFIG = config("func:CartPole-v1")


def run_at(runs_dir: Path) -> RunDirectory:
    run = RunDirectory.create(runs_dir, name="r", algo="ppo2", env_id=CONFIG.env.id)
    with run.lock():
        run.metrics_jsonl.write_text('{"steps": 5, "return_mean": 1.0}\n' * 3)
    return run


def test_picture_is_drawn_after_the_first_episode(tmp_path: Path) -> None:
    run = run_at(tmp_path)
    RunPicture(run, CONFIG, pytest.fail).draw()
    assert run.curve_svg.read_text().startswith("<svg")


def test_picture_is_not_drawn_into_the_directory_of_another_run(tmp_path: Path) -> None:
    run = run_at(tmp_path)
    picture = RunPicture(run, CONFIG, pytest.fail)
    run.path.rename(tmp_path / "moved")
    other = run_at(tmp_path)
    picture.draw()
    assert not other.curve_svg.exists()


def test_log_that_cannot_be_read_ends_no_run(tmp_path: Path) -> None:
    run = run_at(tmp_path)
    run.metrics_jsonl.unlink()
    run.metrics_jsonl.mkdir()
    said: list[str] = []
    picture = RunPicture(run, CONFIG, said.append)
    picture.draw()
    picture.draw()
    assert len(said) == 1
