"""`pgcli runs rm`, and the directory of runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pgcli.cli.main import main
from pgcli.storage.run_directory import RunDirectory


@pytest.fixture
def runs(tmp_path: Path) -> list[RunDirectory]:
    return [
        RunDirectory.create(tmp_path, name=name, algo="ppo2", env_id="CartPole-v1")
        for name in ("a", "b")
    ]


def rm(runs_dir: Path, *words: str) -> int:
    return main(["runs", "rm", *words, "--runs-dir", str(runs_dir)])


def test_runs_are_deleted_only_with_yes(
    runs: list[RunDirectory], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rm(tmp_path, "a", "b") == 2
    assert "2 runs would be deleted" in capsys.readouterr().err
    assert all(run.path.is_dir() for run in runs)
    assert rm(tmp_path, "a", "nothing", "--yes") == 2  # all or none
    assert runs[0].path.is_dir()
    capsys.readouterr()
    assert rm(tmp_path, "a", "--yes", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["deleted"] == [str(runs[0].path)]
    assert [run.path.exists() for run in runs] == [False, True]


def test_run_that_is_being_trained_stays(
    runs: list[RunDirectory], tmp_path: Path
) -> None:
    code = "import sys\nfrom pathlib import Path\n"
    code += "from pgcli.storage.run_directory import RunDirectory\n"
    code += "with RunDirectory(Path(sys.argv[1])).lock(): print(flush=True); input()"
    command = [sys.executable, "-c", code, str(runs[0].path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert rm(tmp_path, "a", "--yes") == 7
        holder.communicate(b"\n")
    assert runs[0].path.is_dir()


def test_one_variable_says_where_runs_are(
    runs: list[RunDirectory], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "pgcli", "runs", "list", "--json"]
    environ = {**os.environ, "PGCLI_RUNS": str(tmp_path)}
    done = subprocess.run(command, env=environ, capture_output=True, check=True)
    assert [row["name"] for row in json.loads(done.stdout)["runs"]] == ["a", "b"]
