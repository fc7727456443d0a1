"""Commands of the pages on sweeps and exports that draw, compare and export runs."""

import glob
import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from support.small_runs import resolved
from support.written_runs import ended, evaluation, returns, write_run

from pgcli.cli.main import main
from pgcli.export.export import FORMATS
from pgcli.training.run import train

DOCS = Path(__file__).parents[2] / "docs"
CALL = re.compile(r"^(?:\$ )?pgcli (plot|compare|video|export) (.*)$", re.MULTILINE)
PAGES = ["sweeps.md", "troubleshooting.md", "metrics.md", "runs.md", "../README.md"]


def commands(page: str) -> list[str]:
    """Calls in code blocks of a page."""
    blocks = re.findall(
        r"```\w*\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL
    )
    return [" ".join(call) for block in blocks for call in CALL.findall(block)]


def run(command: str) -> None:
    """Runs a command as a shell does, with `*` expanded."""
    words = shlex.split(command.partition(" #")[0])
    expanded = [glob.glob(word) if "*" in word else [word] for word in words]
    assert main([word for each in expanded for word in each]) == 0, command


def test_runs_are_plotted_and_compared_as_the_pages_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [tmp_path / "runs" / f"width-{width}" for width in (32, 64, 128)]
    runs += [tmp_path / "runs/sweeps/my/runs" / f"trial-{n}" for n in range(2)]
    for n, path in enumerate(runs):
        done = {"metrics": returns(1, 2, 3 + n), "evals": [evaluation(150.0)]}
        made = write_run(path.parent, path.name, **done, result=ended(9.0 + n))
        made.timing_jsonl.write_text('{"steps": 100, "seconds": 1.0}\n')
    monkeypatch.chdir(tmp_path)
    calls = [c for p in PAGES for c in commands(p) if not c.startswith("export")]
    calls = [call for call in calls if "NAME" not in call]
    assert len(calls) >= 5
    for call in calls:
        if "png" in call and importlib.util.find_spec("matplotlib") is None:
            continue
        run(call)
    # `runs/*` names the directory of sweeps, too
    assert "left out, since it is no run: runs/sweeps" in capsys.readouterr().err
    for file in ("widths.svg", "rates.svg", "rates.csv"):
        assert Path(file).stat().st_size > 0


@pytest.mark.slow
def test_policies_are_exported_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = resolved("func:CartPole-v1", "steps=64", "eval.every=32")
    train(asked, runs_dir=Path("runs"), name="NAME")
    calls = commands("export.md")
    assert len(calls) >= 3
    for call in calls:
        if "onnx" not in call or FORMATS["onnx"].installed:
            run(call)
