"""Results that runs of one process share."""

import pytest
from support.small_runs import config

from pgcli import cache
from pgcli.cache import shared
from pgcli.envs.make import make_device_env
from pgcli.training.backend.sharding import make_learner
from pgcli.training.loops.device_loop import _jit_training
from pgcli.training.step import make_setup


def test_equal_arguments_have_one_result() -> None:
    assert shared(bytearray, (1, 2)) is shared(bytearray, (1, 2))
    assert shared(bytearray, (1, 2)) is not shared(bytearray, (1, 3))


def test_arguments_that_look_different_are_different() -> None:
    assert shared(repr, 1) == "1"
    assert shared(repr, 1.0) == "1.0"
    assert shared(repr, -0.0) == "-0.0"


def test_arguments_without_a_hash_are_not_shared() -> None:
    assert shared(dict, {"a": 1}) is not shared(dict, {"a": 1})


def test_results_used_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_SHARED", 2)
    first = shared(bytearray, 1)
    for size in (2, 1, 3):
        shared(bytearray, size)
    assert shared(bytearray, 1) is first
    assert len(cache._results) == 2


@pytest.mark.parametrize("loop", ["device", "host"])
def test_runs_that_differ_in_numbers_share_their_programs(loop: str) -> None:
    def program(*sets: str, seed: int = 0) -> object:
        cfg = config("func:CartPole-v1", *sets, seed=seed)
        env = make_device_env(cfg.env)
        setup = make_setup(cfg, env.spec)
        if loop == "host":
            return shared(make_learner, setup)[1]
        return shared(_jit_training, setup, env, None, None)[1]

    first = program()
    assert program("optimizer.lr=1e-3", "steps=7", seed=1) is first
    assert program("network.hidden=[9]") is not first
    assert program("env.max_episode_steps=6") is not first
