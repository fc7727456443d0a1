"""Commands of `docs/report.md` run as written."""

import re
import shlex
from pathlib import Path

import pytest
from support.written_runs import ended, evaluation, returns, write_run

from pgcli.cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "report.md"
COMMANDS = re.findall(r"^\$ pgcli (.*)$", PAGE.read_text(encoding="utf-8"), re.M)
WORK = ("train", "video")
"""Commands that need a run that was trained, or train it."""


def run(command: str) -> None:
    assert main(shlex.split(command.partition(">")[0])) == 0, command


def test_commands_on_runs_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evals = [evaluation(150.0)]
    for name in ("first", "slow"):
        done = {"metrics": returns(1, 2, 3), "evals": evals, "result": ended(9.0)}
        write_run(tmp_path / "runs", name, **done)
    monkeypatch.chdir(tmp_path)
    commands = [command for command in COMMANDS if not command.startswith(WORK)]
    assert len(commands) >= 10
    for command in commands:
        run(command)
    for file in ("curves.svg", "rates.svg", "table.csv", "comparison.html"):
        assert Path(file).stat().st_size > 0


@pytest.mark.slow
def test_all_commands_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("pygame", "PIL", "imageio_ffmpeg"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        run(command)
    assert "video/mp4" not in Path("report.html").read_text()
    assert "image/gif" in Path("comparison.html").read_text()
