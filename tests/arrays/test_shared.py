"""Results that runs of one process share."""

import weakref
from pathlib import Path

import pytest
from support.small_runs import config

from pgcli.arrays import shared as sharing
from pgcli.arrays.shared import shared
from pgcli.envs.make import make_device_env
from pgcli.training.backend.sharding import make_learner
from pgcli.training.loops.device_loop import _jit_training
from pgcli.training.step import make_setup


class Cyclic:
    """Part of a cycle, as a program is."""

    def __init__(self) -> None:
        self.itself = self


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
    monkeypatch.setattr(sharing, "MAX_SHARED", 2)
    first = shared(bytearray, 1)
    for size in (2, 1, 3):
        shared(bytearray, size)
    assert shared(bytearray, 1) is first
    assert len(sharing._results) == 2


@pytest.mark.parametrize(("most", "kept"), [(6, True), (5, False)])
def test_results_are_forgotten_at_half_of_all_mappings(
    most: int, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "maps").write_text("0-1 r-x\n1-2 r--\n2-3 rw-\n")
    (tmp_path / "most").write_text(f"{most}\n")
    monkeypatch.setattr(sharing, "MAPPINGS", tmp_path / "maps")
    monkeypatch.setattr(sharing, "MOST_MAPPINGS", tmp_path / "most")
    first = weakref.ref(shared(Cyclic))
    shared(bytearray, 1)
    assert (first() is not None) == kept


def test_system_that_does_not_count_mappings_keeps_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "MAPPINGS", tmp_path / "missing")
    first = shared(bytearray, 1)
    shared(bytearray, 2)
    assert shared(bytearray, 1) is first


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
