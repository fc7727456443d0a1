"""The page of `pgcli report`: its content, and what a browser makes of it."""

import base64
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import browser
from support.written_runs import ended, evaluation, returns, write_run

from pgcli.charts.base import Curve
from pgcli.cli.main import main
from pgcli.errors import UsageError
from pgcli.report.html import page, videos
from pgcli.report.html.figures import thinned
from pgcli.report.html.markup import Html, element
from pgcli.storage.run_directory import RunDirectory

HOSTILE = "</script><script>hacked=1</script>"
STYLE = (Path(page.__file__).parent / "page.css").read_text(encoding="utf-8")
# one frame of one pixel
GIF = base64.b64decode("R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs=")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDirectory]:
    """`slow` and `fast`, evaluated; `seeds` with three members; `other` elsewhere."""
    folder = tmp_path_factory.mktemp("runs")
    evals = [evaluation(5.0, steps) for steps in (100, 300)]
    members = [
        {"member": m, "seed": m, "train_return_mean": 1.0, "eval": evaluation(m)}
        for m in range(3)
    ]
    of_members: dict[str, Any] = {
        name: [{**row, "member": m} for row in rows for m in range(3)]
        for name, rows in (("metrics", returns(1, 2, 3)), ("evals", evals))
    }
    return {
        "slow": write_run(
            folder,
            "slow",
            "optimizer.lr=0.5",
            metrics=returns(1.25, 2, 3),
            evals=evals,
            result=ended(8.0),
        ),
        "fast": write_run(
            folder, "fast", metrics=returns(2, 4, 6), evals=evals, result=ended(9.0)
        ),
        "seeds": write_run(
            folder,
            "seeds",
            "seeds=3",
            **of_members,
            result=ended(1.0, members=members),
        ),
        "other": write_run(folder, "other", env="Pendulum-v1", metrics=returns(-9.0)),
    }


def written(runs: dict[str, RunDirectory], out: Path, *names: str) -> str:
    page.write([runs[name] for name in names], out)
    return out.read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    """Content by heading."""
    parts = re.findall(r"<h2>(.*?)</h2>(.*?)</section>", text, re.DOTALL)
    return dict(parts)


def test_page_of_one_run(runs: dict[str, RunDirectory], tmp_path: Path) -> None:
    text = written(runs, tmp_path / "a.html", "slow")
    found = sections(text)
    assert list(found) == [
        "Curves",
        "Diagnostics",
        "Configuration",
        "Hardware and versions",
    ]
    assert "ppo2 on func:CartPole-v1, seed 0" in text
    assert "<b>8.0</b>" in text
    assert "[6.0, 10.0] 95 %" in text
    row = '<tr><th scope="row">optimizer.lr</th><td>0.5</td><td>--set</td></tr>'
    assert found["Configuration"].count(row) == 2  # chosen ones, all
    assert "No problem found" in found["Diagnostics"]
    assert "0.10.2" in found["Hardware and versions"]
    # nothing is fetched
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|@import", text)


def test_page_of_several_runs(runs: dict[str, RunDirectory], tmp_path: Path) -> None:
    found = sections(written(runs, tmp_path / "a.html", *runs))
    assert list(found) == [
        "Results",
        "Settings that differ",
        "Comparison on func:CartPole-v1",
        "Curves on func:CartPole-v1",
        "Curves on Pendulum-v1",
        "Members",
        "Diagnostics",
        "Configuration",
        "Hardware and versions",
    ]
    keys = re.findall(r'<th scope="row">(.*?)</th>', found["Settings that differ"])
    assert keys == ["env.id", "optimizer.lr", "seeds"]
    comparison = found["Comparison on func:CartPole-v1"]
    # one run has no interval over runs, and is not said to be better than another
    assert '<th scope="row">fast</th><td>1</td><td>9.0</td><td>–</td>' in comparison
    assert "<td>1.00</td>" not in comparison
    assert "Share of runs above" in found["Curves on func:CartPole-v1"]
    assert "pgcli resume other" in found["Diagnostics"]


def test_runs_of_a_group_are_one_curve(
    runs: dict[str, RunDirectory], tmp_path: Path
) -> None:
    chosen = [runs["slow"], runs["fast"], runs["fast"]]  # named twice, shown once
    result = page.write(chosen, tmp_path / "a.html", group_by="algo.name")
    assert result["runs"] == ["slow", "fast"]
    assert result["comparisons"] == []
    text = (tmp_path / "a.html").read_text()
    data = json.loads(re.findall(r'id="figures">(.*?)</script>', text)[0])
    (curve,) = data[0]["curves"]
    assert (curve["label"], curve["y"][0]) == ("algo.name=ppo2", (1.25 + 2) / 2)
    with pytest.raises(UsageError, match="no such key"):
        page.write(chosen, tmp_path / "a.html", group_by="algo.nam")


def test_chosen_values_are_those_that_somebody_or_the_environment_chose(
    tmp_path: Path,
) -> None:
    run = write_run(tmp_path, "a")
    origins = dict.fromkeys(run.read_meta()["origins"], "default")
    chosen = {"env.num_envs": "default for images", "seed": "--seed"}
    others = {"algo.gamma": "default of ppo2", "eval.every": "derived"}
    run.write_meta({**run.read_meta(), "origins": {**origins, **chosen, **others}})
    page.write([run], tmp_path / "a.html")
    shown = sections((tmp_path / "a.html").read_text())["Configuration"]
    first = shown.partition("<details>")[0]
    assert re.findall(r'<th scope="row">(.*?)</th>', first) == list(chosen)
    # of an older version
    run.write_meta({**run.read_meta(), "origins": None})
    page.write([run], tmp_path / "a.html")
    assert "were not recorded" in (tmp_path / "a.html").read_text()


def test_text_of_runs_is_never_markup(tmp_path: Path) -> None:
    run = write_run(tmp_path, "a", env=HOSTILE, metrics=returns(1, 2))
    moved = tmp_path / "<b>&name"
    run.path.rename(moved)
    page.write([RunDirectory(moved), write_run(tmp_path, "b")], tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    assert "hacked" in text
    assert HOSTILE not in text
    assert "<b>&name" not in text
    assert (
        element("p", "<", Html("<br>"), title='"') == '<p title="&quot;">&lt;<br></p>'
    )


def test_newest_video_is_embedded_unless_it_is_too_large(
    runs: dict[str, RunDirectory],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    one = Path(shutil.copytree(runs["slow"].path, tmp_path / "runs" / "one"))
    (one / "best.gif").write_bytes(GIF)
    assert main(["report", "one", "--runs-dir", "runs", "--json"]) == 0
    (video,) = json.loads(capsys.readouterr().out)["videos"]
    assert (video["path"], video["embedded"]) == ("runs/one/best.gif", True)
    assert (
        f"data:image/gif;base64,{base64.b64encode(GIF).decode()}"
        in (tmp_path / "report.html").read_text()
    )
    # what `pgcli video` writes by default is newer
    Path("one.mp4").write_bytes(b"0" * 1000)
    monkeypatch.setattr(videos, "MOST_BYTES", 999)
    assert main(["report", "one", "--runs-dir", "runs"]) == 0
    assert "one.mp4 is too large for the page" in capsys.readouterr().err
    assert "pgcli video one --episodes 1" in Path("report.html").read_text()


def test_mistakes_are_named(
    runs: dict[str, RunDirectory],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = str(runs["slow"].path)
    for words, message in (
        ([run, "-o", str(tmp_path / "a.pdf")], "expected a file that ends in .html"),
        ([run, "-o", str(tmp_path / "no" / "a.html")], "there is no directory"),
        ([run, "--x", "hours"], "expected steps, seconds, episodes, iteration"),
        (["nothing"], "there is no run 'nothing'"),
    ):
        assert main(["report", *words]) == 2
        assert message in capsys.readouterr().err


def test_thinned_curve_keeps_its_ends_and_extremes() -> None:
    y = np.zeros(10_000)
    y[[1234, 4321]] = 7.0, -7.0
    curve = thinned(Curve("a", np.arange(10_000.0), y, y - 1, y + 1), 100)
    assert 50 < len(curve.x) <= 100
    assert (curve.x[0], curve.x[-1]) == (0, 9999)
    assert {1234.0, 4321.0} <= set(curve.x)
    assert curve.low is not None
    np.testing.assert_array_equal(curve.low, curve.y - 1)


def luminance(color: str) -> float:
    """Relative luminance of `#rgb` or `#rrggbb` (WCAG 2)."""
    digits = color[1:] if len(color) == 7 else "".join(2 * x for x in color[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [
        x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts
    ]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colors_have_the_contrast_of_wcag(scheme: int) -> None:
    """4.5 for text, 3 for lines."""
    block = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)[scheme]
    colors = dict(re.findall(r"--(\S+): (#\w+)", block))
    pairs = [("ink", "page"), ("dim", "page"), ("dim", "panel"), ("accent", "page")]
    pairs += [("warn", "warn-page")]
    for name, ground in pairs + [(f"c{i}", "page") for i in range(7)]:
        low, high = sorted(luminance(colors[x]) for x in (name, ground))
        least = 3 if name.startswith("c") else 4.5
        assert (high + 0.05) / (low + 0.05) >= least, (name, ground)


@pytest.fixture(scope="module")
def tab() -> Iterator[browser.Page]:
    if browser.find() is None:
        pytest.skip("needs Chromium")
    with browser.page() as opened:
        yield opened


@pytest.fixture(scope="module")
def file(runs: dict[str, RunDirectory], tmp_path_factory: Any) -> Path:
    path: Path = tmp_path_factory.mktemp("page") / "a.html"
    written(runs, path, *runs)
    return path


def middle(tab: browser.Page, share: float) -> tuple[float, float]:
    """The point of the first figure at this share of its width."""
    tab("document.querySelector('.area').scrollIntoView({block: 'center'})")
    box = tab(
        "(({left, top, width, height}) => [left, top, width, height])"
        "(document.querySelector('.area').getBoundingClientRect())"
    )
    return box[0] + share * box[2], box[1] + box[3] / 2


def tip(tab: browser.Page) -> list[str]:
    """Lines of the tip of the first figure; none while it is hidden."""
    lines = tab(
        "[...document.querySelectorAll('.tip:not([hidden]) > *')]"
        ".map((line) => line.textContent)"
    )
    return [" ".join(line.split()) for line in lines]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 360])
def test_page_fits_and_is_quiet(
    tab: browser.Page, file: Path, width: int, dark: bool
) -> None:
    tab.requests.clear()
    tab.open(file, width, 800, dark)
    assert tab("document.documentElement.scrollWidth") <= width
    ground = tab("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == dark
    tab("document.querySelectorAll('details').forEach((each) => { each.open = true })")
    assert tab("document.documentElement.scrollWidth") <= width
    assert tab.requests == [file.as_uri()]
    assert tab.problems == []


def test_hover_keys_and_touch_show_the_values(tab: browser.Page, file: Path) -> None:
    tab.open(file, 1280, 800)
    # the x axis is from 0 to 300
    tab.mouse("mouseMoved", *middle(tab, 0.35))
    values = ["fast 2", "slow 1.25", "seeds 1 [1, 1]"]
    assert tip(tab) == ["100 environment steps", *values]
    tab.mouse("mouseMoved", 5, 5)
    assert tip(tab) == []
    tab("document.querySelector('figure').focus()")
    tab.press("End")
    assert tip(tab)[:2] == ["300 environment steps", "fast 6"]
    tab.press("Home")
    assert tip(tab)[0] == "100 environment steps"
    tab.press("Escape")
    assert tip(tab) == []
    tab.open(file, 360, 800)
    tab.touch(*middle(tab, 0.99))
    assert tip(tab)[:2] == ["300 environment steps", "fast 6"]
    assert tab.problems == []


def test_legend_hides_a_run_in_every_figure(tab: browser.Page, file: Path) -> None:
    tab.open(file, 1280, 800)
    count = "document.querySelectorAll('path[data-color=\"1\"]:not([hidden])').length"
    before = tab(count)
    tab("document.querySelectorAll('.legend button')[1].click()")
    assert (before > 2, tab(count)) == (True, 0)
    tab.mouse("mouseMoved", *middle(tab, 0.35))
    assert tip(tab)[1].startswith("slow")
    tab("document.querySelectorAll('.legend button')[1].click()")
    assert tab(count) == before


def test_browser_reads_hostile_names_as_text(tab: browser.Page, tmp_path: Path) -> None:
    run = write_run(tmp_path, "a", env=HOSTILE, metrics=returns(1, 2))
    page.write([run], tmp_path / "a.html")
    tab.open(tmp_path / "a.html", 800, 600)
    assert HOSTILE in tab("document.querySelector('header').textContent")
    assert tab("typeof hacked") == "undefined"
    assert tab.problems == []
