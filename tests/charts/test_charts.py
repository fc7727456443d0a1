"""Axes, SVG, terminal text, and rows of long logs."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from pgcli.charts import svg, terminal
from pgcli.charts.base import Axis, Curve, Panel, round_axis, short
from pgcli.charts.rows import SAMPLES, WHOLE, columns

X = np.linspace(0, 100, 11)
LINE = Curve("a < b", X, 2 * X)
BAND = Curve("c", X, X, X - 5, X + 5)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 9], Axis(0, 10, (0, 2, 4, 6, 8, 10))),
        ([-1230, -140], Axis(-1400, 0, tuple(range(-1400, 1, 200)))),
        ([5, 5], Axis(2, 8, (2, 3, 4, 5, 6, 7, 8))),
        ([float("nan"), 1, 2], Axis(1, 2, (1.0, 1.2, 1.4, 1.6, 1.8, 2.0))),
    ],
)
def test_axes_end_at_round_numbers(values: list[float], expected: Axis) -> None:
    axis = round_axis([np.array(values, float)], 6)
    assert axis.ticks == pytest.approx(expected.ticks)
    assert (axis.low, axis.high) == pytest.approx((axis.ticks[0], axis.ticks[-1]))


def test_axis_without_values_is_drawn() -> None:
    assert round_axis([np.array([np.nan])], 5).ticks


def test_ticks_are_short() -> None:
    values = (0, 0.05, -250, 9_999, 10_000, 40_192, 2_500_000, 3e9)
    expected = ["0", "0.05", "-250", "9999", "10k", "40.19k", "2.5M", "3G"]
    assert [short(x) for x in values] == expected


def paths(text: str, **attributes: str) -> list[ET.Element]:
    found = ET.fromstring(text).iter("{http://www.w3.org/2000/svg}path")
    return [p for p in found if all(p.get(k) == v for k, v in attributes.items())]


def test_svg_has_a_line_a_band_and_a_legend() -> None:
    text = svg.chart([Panel("return", "steps", [LINE, BAND])])
    lines = paths(text, fill="none")
    assert [line.get("stroke") for line in lines] == list(svg.COLORS[:2])
    # from the lower left to the upper right corner of the axes
    bottom, right = svg.PANEL - svg.BOTTOM, svg.WIDTH - svg.RIGHT
    data = lines[0].get("d") or ""
    assert data.startswith(f"M{svg.LEFT}.0")
    assert data.endswith(f"L{right}.0 {svg.TOP}.0")
    assert len(paths(text, **{"fill-opacity": ".18"})) == 1
    assert "a &lt; b" in text
    assert bottom > svg.TOP


def test_unknown_values_interrupt_a_line_and_a_single_point_is_a_dot() -> None:
    gap = Curve("gap", X, np.where(X == 50, np.nan, X))
    one = Curve("one", X[:1], X[:1])
    text = svg.chart([Panel("return", "steps", [gap, one])])
    broken, dot = (line.get("d") or "" for line in paths(text, fill="none"))
    assert broken.count("M") == 2
    assert dot.endswith("h0")


def test_terminal_draws_the_line_between_its_axes() -> None:
    drawn = terminal.lines(Panel("return", "steps", [LINE]), 40, 6, unicode=False)
    rows = [line.partition("|")[2] for line in drawn[:6]]
    assert rows[-1].startswith("*")  # lower left
    assert rows[0].endswith("*")  # upper right
    assert len(rows[0]) == 40 - terminal.GUTTER - 1
    columns_drawn = {i for row in rows for i, cell in enumerate(row) if cell == "*"}
    assert columns_drawn == set(range(len(rows[0])))  # no column without a dot
    assert drawn[0].startswith("     200|")
    assert drawn[-1].split() == ["0", "100"]


def test_terminal_uses_braille_patterns_and_paints_each_curve() -> None:
    def paint(text: str, index: int) -> str:
        return f"{index}{text}"

    drawn = terminal.lines(Panel("return", "steps", [LINE, BAND]), 30, 4, paint=paint)
    cells = re.findall(r"([01])([\u2801-\u28ff])", "".join(drawn[:4]))
    assert {index for index, _ in cells} == {"0", "1"}
    assert drawn[-2].strip() == "0━━ a < b"
    assert drawn[-1].strip() == "1━━ c"


def write(path: Path, count: int, padding: int) -> None:
    with path.open("w") as file:
        for i in range(count):
            file.write(
                json.dumps({"steps": i, "x": i / 2, "pad": "p" * padding}) + "\n"
            )


def test_short_logs_are_read_whole_and_damaged_lines_skipped(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    write(path, 10, 0)
    with path.open("a") as file:
        file.write('{"steps": 10, "x": null}\n{"steps": 11, "x": 5.5}\n{"ste')
    found = columns(path, ["steps", "x", "none"])
    assert found["steps"].tolist() == list(range(12))
    assert np.isnan(found["x"][10])
    assert np.isnan(found["none"]).all()
    assert columns(tmp_path / "absent", ["x"])["x"].size == 0


@pytest.mark.parametrize("width", [1, 4])
def test_long_logs_are_sampled_evenly_with_their_ends(
    tmp_path: Path, width: int
) -> None:
    path, count = tmp_path / "log.jsonl", 16_000
    write(path, count, 300)
    assert path.stat().st_size > WHOLE
    steps = columns(path, ["steps"], width)["steps"]
    assert len(steps) <= SAMPLES + 2 * width
    assert steps[0] == 0
    assert steps[-width:].tolist() == list(range(count - width, count))
    assert (np.diff(steps) > 0).all()
    assert np.diff(steps).max() <= 3 * width * count / SAMPLES
