"""The picture of a ladder."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.report.plot import STYLES, learning_curves, spread


def result(*algos: str) -> dict[str, Any]:
    steps = np.linspace(0, 10_000, 11)
    curve = {"iqm": steps / 50, "low": steps / 60, "high": steps / 40}
    each = {part: values.tolist() for part, values in curve.items()}
    return {
        "env": "CartPole-v1",
        "steps": 10_000,
        "seeds": [0, 1],
        "threshold": 150.0,
        "curves": {"steps": steps.tolist(), "rungs": dict.fromkeys(algos, each)},
    }


def test_every_rung_has_a_style_of_its_own() -> None:
    assert list(STYLES) == list(ALGORITHM_CONFIGS)
    assert len({color for color, _ in STYLES.values()}) == len(
        STYLES
    )  # PALETTE is cycled


def test_spread_keeps_heights_that_do_not_touch() -> None:
    assert spread([10, 50, 90], 5, 0, 100) == pytest.approx([10, 50, 90])


def test_spread_parts_labels_about_their_middle() -> None:
    # 50 and 52 need a gap of 10 about 51
    assert spread([50, 52], 10, 0, 100) == pytest.approx([46, 56])


def test_spread_stays_inside() -> None:
    found = spread([99, 98, 1, 0], 10, 0, 100)
    assert found == pytest.approx([100, 90, 10, 0])


def test_learning_curves_writes_both_files(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    paths = learning_curves(result("a2c", "ppo2"), tmp_path)
    assert Path(paths["png"]).read_bytes().startswith(b"\x89PNG")
    svg = Path(paths["svg"]).read_text(encoding="utf-8")
    for text in ("a2c", "ppo2", "environment steps", "threshold 150", "2 seeds"):
        assert text in svg


def test_learning_curves_of_many_rungs_have_a_panel_each(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    paths = learning_curves(result(*ALGORITHM_CONFIGS), tmp_path)
    svg = Path(paths["svg"]).read_text(encoding="utf-8")
    for algo in ALGORITHM_CONFIGS:
        assert svg.count(f">{algo}</text>") == 2  # at its curve and over its panel


def test_learning_curves_svg_is_the_same_every_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first = Path(learning_curves(result("a2c", "ppo2"), tmp_path)["svg"]).read_bytes()
    assert (
        Path(learning_curves(result("a2c", "ppo2"), tmp_path)["svg"]).read_bytes()
        == first
    )


def test_matplotlib_is_not_loaded_before_a_picture_is_drawn() -> None:
    code = (
        "import sys, pgcli.report.plot as p; p.is_available(); "
        "sys.exit('matplotlib' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
