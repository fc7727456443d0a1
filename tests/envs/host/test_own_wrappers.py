"""Wrappers of the user's own, and the returns beneath them."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.small_runs import assert_same_bytes, config, resolved, rows, snapshot

import pgcli
from pgcli.config.schema import EnvConfig
from pgcli.envs import user_modules
from pgcli.envs.host.env_factory import env_factory
from pgcli.envs.host.in_process import InProcess
from pgcli.errors import UsageError
from pgcli.rollout.host_collector import empty_slot
from pgcli.training.evaluation.host_envs import EvaluationEnvs
from pgcli.training.loops.host_loop import HostLoop

SCALED = "env.wrappers=[{name: cases.wrappers:Scaled, kwargs: {factor: 3.0}}]"
COUNTING = "env.wrappers=[cases.wrappers:Counting, cases.wrappers:first_half]"
BRIEF = "steps=32", "eval.every=32"


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_modules, "NAMED", [])
    user_modules.use(["cases.wrappers", "cases.one_only"])


@pytest.mark.parametrize("seeds", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_evaluations_report_the_return_beneath_the_wrappers(
    tmp_path: Path, seeds: int
) -> None:
    given = resolved("CartPole-v1", SCALED, *BRIEF, f"seeds={seeds}")
    result = pgcli.train(given, runs_dir=tmp_path, name="a")
    played = pgcli.evaluate("a", runs_dir=tmp_path, episodes=8)
    # every step pays 1, and 3 above the wrapper; the time limit is 5
    for scores in (result["eval"], rows(tmp_path / "a" / "eval.jsonl")[0], played):
        assert scores["return_mean"] == 3 * scores["raw_return_mean"] == 15
        assert scores["raw_return_ci"] == [5, 5]
    episodes = played.get("members", [played])[0]["per_episode"]
    assert [row["raw_return"] for row in episodes] == [5] * 8


def test_returns_without_such_wrappers_are_reported_once(tmp_path: Path) -> None:
    with closing(HostLoop(config("CartPole-v1"))) as loop:
        assert np.isnan(loop.evaluate(4, "selection", 0).raw).all()


@pytest.mark.parametrize("workers", ["1", "thread"])
def test_wrappers_are_the_same_in_other_processes_and_threads(workers: str) -> None:
    loops = [HostLoop(config("CartPole-v1", SCALED))]
    other = config("CartPole-v1", SCALED, f"host.workers={workers}")
    loops.append(HostLoop(other, like=loops[0]))
    with closing(loops[0]), closing(loops[1]):
        first, second = ([loop.advance(64, 99.0)] for loop in loops)
    assert first == second


@pytest.mark.slow
def test_run_with_a_counting_wrapper_resumes_exactly(tmp_path: Path) -> None:
    cfg = config("CartPole-v1", COUNTING, "steps=64")
    with closing(HostLoop(cfg)) as whole, closing(HostLoop(cfg, like=whole)) as half:
        whole.advance(64, 99.0)
        half.advance(32, 9.0)
        with closing(HostLoop(cfg, like=whole)) as rest:
            assert rest.restore(half.snapshot(), "x") == "exact"
            rest.advance(64, 99.0)
            assert_same_bytes(snapshot(whole), snapshot(rest))


def test_a_single_environment_in_its_own_process_reports_raw_returns() -> None:
    one = ("env.num_envs=1", "algo.num_minibatches=1", "env.max_episode_steps=null")
    user_modules.named()
    with closing(HostLoop(config("OneOnly-v0", SCALED, *one))) as loop:
        played = loop.evaluate(4, "selection", 0)
    np.testing.assert_array_equal(played.returns, 3 * played.raw)


def test_rewards_of_a_reset_count_in_neither_return() -> None:
    cfg = EnvConfig(
        "CartPole-v1", max_episode_steps=5, wrappers=("cases.wrappers:Noop",)
    )
    envs = EvaluationEnvs(cfg, config("CartPole-v1").host)
    with closing(envs), envs.begin([0]) as (env, _):
        assert isinstance(env, InProcess)
        env.take_raw_returns()
        slot = empty_slot(env)
        for _ in range(4):  # the reset has taken one of the 5 steps
            env.step(np.zeros(1, np.int32), slot)
        assert env.take_raw_returns() == [[4.0]]


@pytest.mark.parametrize(
    ("item", "message", "help"),
    [
        ("other:Mine", "module `other` is not named", "--env-module other"),
        ("cases.wrappers:Scale", "has no wrapper `Scale`", "`Scaled`"),
        ("cases.wrappers:zzz", "has no wrapper `zzz`", "wrappers.py"),
        ("cases.wrappers:nothing", "which is no gymnasium.Env", "observations"),
        ({"cases.wrappers:Scaled": {"by": 1}}, "unexpected keyword", "by: 1"),
    ],
)
def test_wrapper_that_cannot_be_made_is_explained(
    item: Any, message: str, help: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        env_factory(EnvConfig("CartPole-v1", wrappers=(item,)))()
    assert help in str(caught.value.help)
