"""Verdicts on the order of the ladder."""

import numpy as np
import pytest

from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.ladder.claims import CLAIMS, judge, verdict


@pytest.mark.parametrize(
    ("relation", "interval", "expected"),
    [
        ("<", (0.1, 5), "holds"),
        ("<", (-0.1, 5), "undecided"),
        ("<", (-5, -0.1), "fails"),
        # 2 % of 500 is 10: a lower end above −10 is enough
        ("<=", (-9.9, 5), "holds"),
        ("<=", (-9.9, -1), "holds"),
        ("<=", (-10.1, 5), "undecided"),
        ("<=", (-30, -10.1), "fails"),
    ],
)
def test_verdict_by_interval(
    relation: str, interval: tuple[float, float], expected: str
) -> None:
    assert verdict(relation, interval, 500) == expected


def test_claims_name_rungs_that_exist_and_follow_the_registry() -> None:
    names = list(ALGORITHM_CONFIGS)
    for lower, _, upper in CLAIMS:
        assert names.index(lower) < names.index(upper)


def test_judge_takes_the_claims_whose_rungs_are_there() -> None:
    areas = {"a2c": np.arange(5.0), "ppo2": np.arange(5.0) + 50, "trpo": np.arange(5.0)}
    rows = judge(areas, 500)
    assert [(row["lower"], row["upper"]) for row in rows] == [
        ("a2c", "trpo"),
        ("a2c", "ppo2"),
    ]
    assert [row["verdict"] for row in rows] == ["holds", "holds"]
    assert rows[1]["difference"] == 50


def test_judge_decides_nothing_on_few_seeds() -> None:
    areas = {"reward-to-go": np.array([1.0, 2]), "a2c": np.array([101.0, 102])}
    [row] = judge(areas, 500)
    assert row["ci"][0] > 0
    assert row["verdict"] == "undecided"


def test_judge_sees_a_reversed_order() -> None:
    areas = {"reward-to-go": 100 + np.arange(6.0), "a2c": np.arange(6.0)}
    [row] = judge(areas, 500)
    assert row["verdict"] == "fails"
