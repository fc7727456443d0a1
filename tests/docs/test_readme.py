"""README.md is short, and what it claims and shows is so."""

import re
from pathlib import Path

import pytest

from pgcli.cli.main import main
from pgcli.config.algorithms import ALGORITHM_ALIASES, ALGORITHM_CONFIGS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
PERFORMANCE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
MOST_WORDS = 1200

BAD_FILE = """\
algo:
  name: ppo2
  clip_epss: 0.1
optimizer:
  lr: fast
"""


def section(text: str, heading: str) -> str:
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_readme_is_short() -> None:
    assert len(README.split()) <= MOST_WORDS


def test_readme_names_every_algorithm_and_alias() -> None:
    table = section(README, "What works with what")
    for name in (*ALGORITHM_CONFIGS, *ALGORITHM_ALIASES):
        assert f"`{name}`" in table, name


def test_claimed_speed_is_that_of_the_results() -> None:
    claim = re.search(r"with layers of 64, ([\d.]+) to ([\d.]+) times as fast", README)
    assert claim is not None
    rows = re.findall(
        r"^\| ((?:device|host|the same).*) \| \w[^|]* \| ([\d., ]+) \|$",
        section(PERFORMANCE, "Speed"),
        re.MULTILINE,
    )
    assert len(rows) > 10
    same = [ratios for shape, ratios in rows if "layers of 256" not in shape]
    ratios = [float(ratio) for each in same for ratio in each.split(", ")]
    assert claim.groups() == (f"{min(ratios):.1f}", f"{max(ratios):.1f}")


def test_measured_rows_are_those_of_the_results() -> None:
    rows = re.findall(r"^\| \w+, .*\|$", section(README, "Speed and returns"), re.M)
    assert rows
    for row in rows:
        assert f"\n{row}\n" in RESULTS


def test_mistakes_are_reported_as_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = re.search(r"^\$ pgcli train -c my.yaml\n(.*?)```", README, re.M | re.S)
    assert shown is not None
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(BAD_FILE, encoding="utf-8")
    assert main(["train", "-c", "my.yaml"]) == 2
    assert capsys.readouterr().err == shown[1]


def test_live_view_shows_the_labels_of_the_program() -> None:
    """`python tests/docs/live_view.py` draws it again."""
    picture = (ROOT / "docs" / "images" / "live-view.svg").read_text(encoding="utf-8")
    source = ROOT / "pgcli" / "cli" / "terminal" / "live_frame.py"
    labels = re.findall(r'^ +\("([a-z/ ]+)", ', source.read_text("utf-8"), re.M)
    assert len(labels) == 6
    for label in labels:
        assert label in picture.replace("&#160;", " "), label
