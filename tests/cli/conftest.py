"""Runs commands in this process and compares what they say with golden files."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from support import fake_training
from support.generated import UPDATE

from pgcli.cli.main import main

GOLDEN = Path(__file__).parent.parent / "golden" / "cli"


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    def text(self) -> str:
        return f"exit {self.code}\n--- stdout\n{self.out}--- stderr\n{self.err}"


Run = Callable[..., Outcome]


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs one command in an empty directory, with training replaced by a stand-in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("pgcli.cli.terminal.live_view.LINE_SECONDS", 1e9)
    for name, module in fake_training.modules().items():
        monkeypatch.setattr(f"pgcli.training.{name}", module, raising=False)

    def call(*words: str) -> Outcome:
        code = main(words)
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return call


@pytest.fixture
def golden() -> Callable[[str, Outcome], None]:
    """Compares an outcome with `tests/golden/cli/NAME.txt`, or writes that file."""

    def compare(name: str, outcome: Outcome) -> None:
        path = GOLDEN / f"{name}.txt"
        if os.environ.get(UPDATE):
            path.write_text(outcome.text(), encoding="utf-8")
        assert outcome.text() == path.read_text(encoding="utf-8")

    return compare
