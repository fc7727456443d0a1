"""Training curves read off `metrics.jsonl`, by hand."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgcli.errors import UsageError
from pgcli.ladder.curves import Curve, area, on_grid, read_curve, step_grid, steps_to


def curve(steps: list[float], returns: list[float], episodes: int = 100) -> Curve:
    return Curve(
        np.array(steps), np.array(returns), np.full(len(steps), episodes), 0, 1
    )


def write(path: Path, *rows: dict[str, Any], tail: str = "") -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_text(text + tail, encoding="utf-8")
    return path


def row(steps: int, return_mean: float | None, **more: Any) -> dict[str, Any]:
    return {"steps": steps, "return_mean": return_mean, "episodes": steps, **more}


def test_area_of_a_ramp_is_its_middle() -> None:
    # from 0 at step 0 to 10 at the budget: the triangle's mean height is 5
    assert area(curve([0, 100], [0, 10]), 100) == pytest.approx(5)


def test_area_holds_the_first_and_the_last_return() -> None:
    # 10 up to step 20, a ramp to 30 at step 60, then 30 up to 100:
    # (20·10 + 40·20 + 40·30)/100 = (200 + 800 + 1200)/100 = 22
    assert area(curve([20, 60], [10, 30]), 100) == pytest.approx(22)


def test_area_counts_nothing_past_the_budget() -> None:
    # the last iteration overshoots: at step 100 the line to (200, 20) stands at 10
    assert area(curve([0, 200], [0, 20]), 100) == pytest.approx(5)


def test_grid_is_common_whatever_the_steps_of_the_rows() -> None:
    found = on_grid(curve([7, 93], [1, 1]), 100)
    assert found.shape == step_grid(100).shape
    assert (step_grid(100)[0], step_grid(100)[-1]) == (0, 100)
    assert set(found) == {1.0}


def test_steps_to_a_threshold_are_those_of_the_first_row_at_it() -> None:
    assert steps_to(curve([10, 20, 30], [1, 5, 9]), 5) == 20
    assert steps_to(curve([10, 20, 30], [1, 5, 9]), 9.5) == math.inf


def test_steps_to_a_threshold_wait_for_a_hundred_episodes() -> None:
    assert steps_to(curve([10], [500], episodes=99), 475) == math.inf
    assert steps_to(curve([10], [500], episodes=100), 475) == 10


def test_read_curve_leaves_out_rows_before_the_first_episode(tmp_path: Path) -> None:
    path = write(tmp_path / "m", row(8, None, kl=0.5), row(16, 20.0, kl=0.1))
    found = read_curve(path)
    assert found.steps.tolist() == [16]
    assert found.returns.tolist() == [20]
    # KL is of updates, not of episodes: (0.5 + 0.1)/2
    assert found.kl == pytest.approx(0.3)
    assert math.isnan(found.ess)


def test_read_curve_passes_over_a_torn_last_line(tmp_path: Path) -> None:
    path = write(tmp_path / "m", row(8, 1.0), tail='{"steps": 16, "ret')
    assert read_curve(path).steps.tolist() == [8]


def test_read_curve_without_an_episode_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no episode ended") as caught:
        read_curve(write(tmp_path / "m", row(8, None)))
    assert "--steps" in str(caught.value.help)
