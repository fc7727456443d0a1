"""`pgcli envs`: the list, the filter, and a look at one environment."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from pgcli.envs import user_modules

MODULE = """
import gymnasium
import numpy as np


class Leaky(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, top=1.0):
        self._top = top

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.float32([0, self.np_random.random()]), {}

    def step(self, action):
        return np.float32([self._top, self.np_random.random()]), 0.0, False, False, {}


gymnasium.register("Leaky-v0", Leaky, max_episode_steps=10)
"""


@pytest.fixture
def leaky(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """Words that name an environment of a module in the current directory."""
    monkeypatch.setattr(user_modules, "NAMED", [])
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "leaky_env.py").write_text(MODULE, encoding="utf-8")
    yield "leaky_env:Leaky-v0", "--env-module", "leaky_env"
    gymnasium.registry.pop("Leaky-v0", None)
    sys.modules.pop("leaky_env", None)


@pytest.mark.parametrize(
    "words", [["envs", "--json", "pole"], ["envs", "list", "pole", "--json"]]
)
def test_envs_lists_what_has_the_filter_in_its_id(
    run: Callable[..., Any], words: list[str]
) -> None:
    found = json.loads(run(*words).out)["envs"]
    assert {row["id"] for row in found} >= {"CartPole-v1", "func:CartPole-v1"}
    assert all("pole" in row["id"].lower() for row in found)


def test_envs_alone_lists_everything(run: Callable[..., Any]) -> None:
    outcome = run("envs")
    assert outcome.code == 0
    assert "CartPole-v1" in outcome.out
    assert "Pendulum-v1" in outcome.out


def test_envs_lists_those_of_a_named_module(
    run: Callable[..., Any], leaky: tuple[str, ...]
) -> None:
    found = json.loads(run("envs", *leaky[1:], "leak", "--json").out)["envs"]
    assert [row["id"] for row in found] == ["Leaky-v0"]


def test_check_of_what_is_right_ends_well(
    run: Callable[..., Any], leaky: tuple[str, ...]
) -> None:
    outcome = run("envs", "check", *leaky, "--seconds", "0.01", "--json")
    assert outcome.code == 0, outcome.err
    answer = json.loads(outcome.out)
    assert answer["ok"]
    assert answer["spaces"] == {"obs": "float32[2]", "action": "Discrete(2)"}
    assert answer["max_episode_steps"] == 10
    assert answer["speed"]["steps_per_second"] > 0
    assert {finding["level"] for finding in answer["findings"]} == {"ok"}


def test_check_of_what_is_wrong_says_so_with_exit_3(
    run: Callable[..., Any], leaky: tuple[str, ...]
) -> None:
    words = ["envs", "check", *leaky, "--seconds", "0.01", "--env-kwargs"]
    outcome = run(*words, "top=1.5")
    assert outcome.code == 0
    assert "observations leave their space: 1.5 is not in [0, 1]" in outcome.out
    words.append("top=.nan")
    outcome = run(*words)
    assert outcome.code == 3
    assert "the observation at step 1 is not finite" in outcome.out
    assert "the check reported 2 errors" in outcome.err
    answer = json.loads(run(*words, "--json").out)
    assert not answer["ok"]
    assert answer["error"]["code"] == "environment"
    assert answer["speed"] is None
