"""Suggestions for misspelt names."""

import pytest

from pgcli.suggest import did_you_mean, similar


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("traim", ["train", "resume"], ["train"]),
        ("xyz", ["train", "resume"], []),
        ("PPO1", ["ppo1", "ppo2"], ["ppo1"]),
        ("reward_to_go", ["reinforce", "reward-to-go"], ["reward-to-go"]),
        ("flattenobs", ["FlattenObservation"], ["FlattenObservation"]),
        ("x", [], []),
    ],
)
def test_similar_ignores_case_and_kind_of_dash(
    word: str, known: list[str], expected: list[str]
) -> None:
    assert similar(word, known) == expected


def test_similar_prefers_the_first_of_names_that_differ_in_case_only() -> None:
    assert similar("AB", ["ab", "Ab"]) == ["ab"]


def test_did_you_mean_joins_several_and_falls_back() -> None:
    known = ["CartPole-v0", "CartPole-v1", "Pendulum-v1"]
    several = "did you mean `CartPole-v1` or `CartPole-v0`?"
    assert did_you_mean("CartPol-v1", known, "none", count=2) == several
    assert did_you_mean("Ant", known, None) is None
