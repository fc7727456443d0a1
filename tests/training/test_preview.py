"""`preview`: what `train --dry-run` learns from an environment."""

import dataclasses

import pytest
from support.small_runs import config

from pgcli.envs.host.in_process import InProcess
from pgcli.errors import UsageError
from pgcli.training.preview import preview


@pytest.mark.parametrize("env_id", ["CartPole-v1", "func:CartPole-v1"])
def test_preview_describes_environment_and_network(env_id: str) -> None:
    facts = preview(config(env_id))
    assert (facts["observations"], facts["actions"]) == ("float32[4]", "Discrete(2)")
    assert facts["time_limit"] == 5
    # actor 4·8 + 8 + 8·2 + 2 = 58, critic 4·8 + 8 + 8 + 1 = 49
    assert facts["parameters"] == 58 + 49
    assert facts["accelerator"] == "cpu"


def test_preview_closes_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[InProcess] = []
    monkeypatch.setattr(InProcess, "close", lambda env: closed.append(env))
    preview(config("CartPole-v1"))
    assert [env.num_envs for env in closed] == [1]


def test_preview_fails_as_training_does() -> None:
    several = config("func:CartPole-v1")
    env = dataclasses.replace(several.env, id="func:Acrobot-v1")
    with pytest.raises(UsageError, match="unknown environment `func:Acrobot-v1`"):
        preview(dataclasses.replace(several, env=env))
