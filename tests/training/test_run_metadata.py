"""meta.json: the origin of every value, and the machine."""

from pathlib import Path

import pytest
from support.small_runs import BATCH, resolved

from pgcli.storage.run_directory import RunDirectory
from pgcli.training.run import resume, train

ENV = "func:CartPole-v1"


def test_origins_are_recorded_and_follow_a_resume(tmp_path: Path) -> None:
    asked = resolved(ENV, f"steps={BATCH}", "eval.every=0")
    train(asked, runs_dir=tmp_path, name="a")
    run = RunDirectory(tmp_path / "a")
    meta = run.read_meta()
    assert meta["origins"] == asked.origins
    assert meta["origins"]["steps"] == "--set"
    assert meta["machine"]["cores"] >= 1
    assert meta["machine"]["memory"] > 2**20
    resume("a", runs_dir=tmp_path, steps=2 * BATCH)
    assert run.read_meta() == {**meta, "origins": {**asked.origins, "steps": "resume"}}


@pytest.mark.slow
def test_member_on_its_own_names_the_run_that_its_values_are_from(
    tmp_path: Path,
) -> None:
    asked = resolved(ENV, f"steps={BATCH}", "eval.every=0", "seeds=2")
    train(asked, runs_dir=tmp_path, name="two")
    resume("two", runs_dir=tmp_path, steps=2 * BATCH, member="1")
    origins = RunDirectory(tmp_path / "two-member1").read_meta()["origins"]
    assert (origins["seed"], origins["steps"]) == ("two", "resume")
    assert origins["optimizer.lr"] == "default"
