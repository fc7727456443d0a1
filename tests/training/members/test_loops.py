"""Members equal separate runs; the number of devices affects rounding only."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.shared_loops import ENV, advance, alone, params, side_by_side, stored
from support.small_runs import BATCH, arrays, assert_same_bytes, config, snapshot

from pgcli.arrays import sample_blocks
from pgcli.config.load import resolve
from pgcli.config.members import cells, config_of, members
from pgcli.envs.waiting import Abandoned
from pgcli.errors import (
    AcceleratorError,
    CheckpointError,
    DivergedError,
    EnvironmentFailed,
)
from pgcli.training.backend.layout import Layout, choose, start
from pgcli.training.loops.host_loop import HostLoop
from pgcli.training.members.device_program import in_groups
from pgcli.training.members.host_members import HostMembers

CLOSE = 1e-5
"""Batched and split sums round differently; three updates do not carry it further."""


GRID: dict[str, Any] = {"grid": {"optimizer.lr": (1e-4, 1e-2)}, "seeds": 2}
"""Four members, which the tests share."""


@pytest.mark.parametrize(
    ("algo", "seeds", "devices", "block"),
    [
        # a copy of the last fills the second device
        pytest.param("ppo2", 3, 2, 1024, marks=pytest.mark.slow),
        ("ppo2", 2, 1, BATCH // 2),  # one minibatch: one at a time
        pytest.param("reward-to-go", 2, 1, 1024, marks=pytest.mark.slow),
        pytest.param("ppo2", 2, 2, 1024, marks=pytest.mark.slow),
        pytest.param("ppo2", 3, 1, 1024, marks=pytest.mark.slow),
        pytest.param("ppo2", 5, 1, BATCH, marks=pytest.mark.slow),  # two at a time
        pytest.param("reward-to-go", 2, 2, 1024, marks=pytest.mark.slow),
    ],
)
def test_members_are_what_each_is_alone(
    algo: str, seeds: int, devices: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_blocks, "BLOCK", block)
    loop = side_by_side(algo, devices, seeds=seeds)
    rows = advance(loop, 3)
    monkeypatch.undo()
    returns = loop.evaluate(6, "reporting", 0).returns
    assert returns.shape == (seeds, 6)
    for member in loop.members:
        single = alone(config_of(config(ENV, algo=algo), member))
        expected = advance(single, 3)
        own = [row for row in rows if row["seed"] == member.seed]
        assert [row["steps"] for row in own] == [row["steps"] for row in expected]
        np.testing.assert_allclose(
            params(loop, member.index), params(single), atol=CLOSE, rtol=CLOSE
        )
        played = single.evaluate(6, "reporting", member.seed).returns
        np.testing.assert_array_equal(returns[member.index], played)


@pytest.mark.parametrize("most", [1, 2, 4, 5, 100])
def test_members_in_groups_are_what_each_is_alone(most: int) -> None:
    many = {"x": np.arange(10.0).reshape(5, 2)}, np.arange(5.0)
    result = in_groups(lambda x, y: (x["x"].sum() * y, x), most)(*many)
    np.testing.assert_array_equal(result[0], many[0]["x"].sum(axis=1) * many[1])
    np.testing.assert_array_equal(result[1]["x"], many[0]["x"])


@pytest.mark.slow
def test_copies_that_fill_a_device_are_seen_nowhere() -> None:
    loop = side_by_side(devices=2, seeds=3)
    assert loop._places == 4
    rows = advance(loop, 2)
    assert [(row["iteration"], row["member"]) for row in rows] == [
        (i, m) for i in (1, 2) for m in range(3)
    ]
    kept = snapshot(loop)
    assert {array.shape[0] for array in kept.values()} == {3}
    # values of the padding copy do not matter, even if they are not finite
    loop._states = jax.jit(
        partial(
            jax.tree.map,
            lambda x: x.at[3].set(0.0 * np.nan) if x.dtype == np.float32 else x,
        )
    )(loop._states)
    assert [row["member"] for row in advance(loop, 1)] == [0, 1, 2]
    assert (loop.iteration, loop.steps, loop.diverged) == (3, 3 * BATCH, {})
    after = snapshot(loop)
    assert loop.restore(stored(kept), "here") == "exact"
    assert (loop.iteration, loop.steps) == (2, 2 * BATCH)
    advance(loop, 1)
    assert_same_bytes(snapshot(loop), after)


def test_members_that_a_snapshot_lacks_are_an_error() -> None:
    loop = side_by_side(devices=2, seeds=3)
    kept = {name: x[:2] for name, x in snapshot(loop).items()}
    with pytest.raises(CheckpointError, match=r"\[2.*\[3"):
        loop.restore(stored(kept), "here")


def test_members_of_a_grid_have_its_values() -> None:
    loop = side_by_side(**GRID)
    assert [m.label for m in loop.members] == [
        {"member": 0, "seed": 0, "optimizer.lr": 1e-4},
        {"member": 1, "seed": 1, "optimizer.lr": 1e-4},
        {"member": 2, "seed": 0, "optimizer.lr": 1e-2},
        {"member": 3, "seed": 1, "optimizer.lr": 1e-2},
    ]
    rows = advance(loop, 1)
    assert [row["lr"] for row in rows] == pytest.approx([1e-4, 1e-4, 1e-2, 1e-2])
    single = alone(config(ENV, "optimizer.lr=1e-2", seed=1))
    advance(single, 1)
    np.testing.assert_allclose(params(loop, 3), params(single), atol=CLOSE, rtol=CLOSE)


def test_member_evaluation_is_that_of_the_seed_alone() -> None:
    loop, single = side_by_side(**GRID), alone(config(ENV, seed=1))
    returns, lengths = loop.evaluate(6, "reporting", 0)[:2]
    expected = single.evaluate(6, "reporting", 1)
    assert returns.shape == (4, 6)
    np.testing.assert_array_equal(returns[1], expected[0])
    np.testing.assert_array_equal(lengths[1], expected[1])


def test_members_resume_byte_for_byte() -> None:
    loop = side_by_side(**GRID)
    advance(loop, 2)
    half = snapshot(loop)
    before = (loop.iteration, loop.steps)
    advance(loop, 2)
    whole = snapshot(loop)
    again = side_by_side(**GRID)
    assert again.restore(stored(half), "here") == "exact"
    assert (again.iteration, again.steps) == before
    advance(again, 2)
    assert_same_bytes(snapshot(again), whole)


def test_member_that_diverges_leaves_the_others_alone() -> None:
    expected = advance(side_by_side(**GRID), 2)
    loop = side_by_side(**GRID)
    broken = snapshot(loop)
    for name, array in broken.items():
        if "policy" in name:
            array[0] = np.nan
    loop.restore(stored(broken), "here")
    rows = advance(loop, 2)
    assert list(loop.diverged) == [0]
    assert [row["member"] for row in rows] == [1, 2, 3] * 2
    assert rows == [row for row in expected if row["member"] != 0]
    loop.retire(1, "so be it")
    loop.retire(2, "so be it")
    with pytest.raises(DivergedError, match="every run diverged; seed 1"):
        loop.retire(3, "so be it")


@pytest.mark.parametrize("kind", ["alone", "side by side"])
def test_no_call_takes_more_slow_iterations_than_its_time(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop: Any = alone(config(ENV)) if kind == "alone" else side_by_side(**GRID)
    chunk, asked = loop._chunk, []
    now = compiled = 0.0
    monkeypatch.setattr(
        "pgcli.training.loops.chunk_size.time.perf_counter", lambda: now
    )
    monkeypatch.setattr(
        "pgcli.training.loops.chunk_size.timing.compiled", lambda: compiled
    )

    def slow(*inputs: Any) -> Any:
        nonlocal now, compiled
        asked.append(int(inputs[-1]))
        now += 2.0 * asked[-1]
        compiled += 9.0 * (len(asked) == 1)
        return chunk(*inputs)

    monkeypatch.setattr(loop, "_chunk", slow)
    for _ in range(4):
        loop.advance(10**6, 0.5)
    # the second once was 8 iterations: for 16 seconds, signals were ignored
    assert asked == [1, 1, 1, 1]
    assert loop.iteration == 4


def test_host_members_are_what_each_is_alone() -> None:
    loop = HostMembers(dataclasses.replace(config("CartPole-v1"), seeds=2))
    assert loop._loops[0]._learn is loop._loops[1]._learn  # compiled once
    single = HostLoop(config("CartPole-v1", seed=1))
    try:
        rows, expected = advance(loop, 2), advance(single, 2)
        assert [r["return_mean"] for r in rows if r["seed"] == 1] == [
            r["return_mean"] for r in expected
        ]
        np.testing.assert_array_equal(params(loop, 1), params(single))
        groups = loop.snapshot()
        assert loop.restore(groups, "here") == "exact"
        assert_same_bytes(arrays(loop.snapshot()), arrays(groups))
        groups.pop("env")
        assert loop.restore(groups, "here") == "learner-exact"
        assert len(loop.news()) == 1
    finally:
        loop.close()
        single.close()


def test_host_members_look_at_a_signal_between_members() -> None:
    loop = HostMembers(dataclasses.replace(config("CartPole-v1"), seeds=2))
    try:
        rows = loop.advance(10**6, 0.0, lambda: True)
        assert [(row["seed"], row["iteration"]) for row in rows] == [(0, 1)]
        rows = loop.advance(10**6, 0.0)
        assert [(row["seed"], row["iteration"]) for row in rows] == [(0, 2), (1, 1)]
    finally:
        loop.close()


@pytest.mark.parametrize("kind", [Abandoned, EnvironmentFailed])
def test_host_member_that_fails_loses_no_rows_of_others(
    kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = HostMembers(dataclasses.replace(config("CartPole-v1"), seeds=2))

    def fail(*arguments: Any) -> Any:
        raise kind("broken")

    monkeypatch.setattr(loop._loops[1], "_collect", fail)
    try:
        rows = loop.advance(10**6, 0.0)
        assert [(row["seed"], row["iteration"]) for row in rows] == [(0, 1)]
        with pytest.raises(kind):
            loop.advance(10**6, 0.0)
        assert loop.iteration == 1  # nobody was advanced again
    finally:
        loop.close()


@pytest.mark.parametrize(
    ("algo", "sets"),
    [
        ("ppo2", ("algo.recompute_advantage=true",)),
        pytest.param("trpo", ("algo.num_minibatches=2",), marks=pytest.mark.slow),
        pytest.param(
            "ppo1",
            ("algo.num_minibatches=2", "algo.num_epochs=2"),
            marks=pytest.mark.slow,
        ),
        pytest.param("a2c", (), marks=pytest.mark.slow),
    ],
)
def test_two_devices_are_one(algo: str, sets: tuple[str, ...]) -> None:
    cfg = config(ENV, *sets, algo=algo)
    one, two = alone(cfg), alone(cfg, data=2)
    assert two._mesh is not None
    rows, split = advance(one, 3), advance(two, 3)
    np.testing.assert_allclose(params(two), params(one), atol=CLOSE, rtol=CLOSE)
    assert [r["return_mean"] for r in split] == [r["return_mean"] for r in rows]


@pytest.mark.slow
def test_two_devices_resume_byte_for_byte() -> None:
    cfg = config(ENV, "algo.recompute_advantage=true")
    loop = alone(cfg, data=2)
    advance(loop, 2)
    half = snapshot(loop)
    advance(loop, 2)
    whole = snapshot(loop)
    again = alone(cfg, data=2)
    again.restore(stored(half), "here")
    advance(again, 2)
    assert_same_bytes(snapshot(again), whole)


def test_layout_gives_devices_to_seeds_before_the_batch() -> None:
    wide = "network.hidden=[64,64]"
    large = config(ENV, "env.num_envs=64", "rollout.num_steps=128", wide)
    small = config(ENV)
    assert choose(large, 2, on_cpu=True) == Layout(1, 2)
    assert choose(large, 3, on_cpu=True) == Layout(1, 2)  # 8 rows: 1, 2, 4 or 8
    assert choose(small, 2, on_cpu=True) == Layout(1, 1)
    assert choose(small, 2, on_cpu=False) == Layout(1, 2)
    seeds = dataclasses.replace(large, seeds=6)
    # 2 each; 4 devices are not faster
    assert choose(seeds, 4, on_cpu=True) == Layout(3, 1)
    seeds = dataclasses.replace(large, seeds=5)
    assert choose(seeds, 2, on_cpu=True) == Layout(2, 1)  # 3 each, one of them idle
    assert choose(seeds, 1, on_cpu=True) == Layout(1, 1)
    assert choose(seeds, 9, on_cpu=True) == Layout(5, 1)
    assert choose(config("CartPole-v1"), 2, on_cpu=True) == Layout(1, 1)
    one_cell = dataclasses.replace(large, grid={"optimizer.lr": (1e-3,)})
    assert choose(one_cell, 2, on_cpu=True) == Layout(1, 1)  # members split no batch


def test_more_devices_than_there_are_is_an_error() -> None:
    with pytest.raises(AcceleratorError, match="4 devices were asked for"):
        start(config(ENV, "parallel.devices=4"), recorded={"devices": 2})


def test_members_of_a_configuration_are_told_apart_by_seed_and_value() -> None:
    cfg = resolve(
        file=None,
        flags={"seed": (3, "--seed"), "seeds": (2, "--seeds")},
        sets=["grid={optimizer.lr: [1e-3, 3e-3], algo.gamma: [0.9]}"],
    ).config
    assert cells(cfg) == [
        {"optimizer.lr": 1e-3, "algo.gamma": 0.9},
        {"optimizer.lr": 3e-3, "algo.gamma": 0.9},
    ]
    assert [str(member) for member in members(cfg)][2:] == [
        "seed 3, optimizer.lr 0.003, algo.gamma 0.9",
        "seed 4, optimizer.lr 0.003, algo.gamma 0.9",
    ]
    last = config_of(cfg, members(cfg)[3])
    assert (last.seed, last.optimizer.lr, last.algo.gamma) == (4, 3e-3, 0.9)  # type: ignore[union-attr]
    assert not last.has_members


def test_members_in_groups_may_have_outputs_of_size_zero() -> None:
    # as the bounds of an environment without bounds
    def one(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return 2 * x, jnp.zeros((0, 4))

    doubled, empty = in_groups(one, 2)(jnp.arange(5.0))
    assert doubled.tolist() == [0, 2, 4, 6, 8]
    assert empty.shape == (5, 0, 4)


@pytest.mark.parametrize(
    ("settings", "devices"),
    [
        # 512 samples in minibatches, of layers of 64
        (("env.num_envs=16",), 1),
        (("env.num_envs=32",), 2),
        (("env.num_envs=16", "network.hidden=[64,128]"), 2),
        (("env.num_envs=8", "network.hidden=[256,256]"), 1),
        (("env.num_envs=32", "network.hidden=[32,32]"), 1),
        (("env.num_envs=64", "network.hidden=[32,32]"), 2),
        (("env.num_envs=8", "network.memory=gru"), 2),
        (("env.num_envs=64", "network.hidden=[]"), 1),
    ],
)
def test_layout_splits_batches_of_many_samples_and_units(
    settings: tuple[str, ...], devices: int
) -> None:
    usual = "rollout.num_steps=128", "algo.num_minibatches=4", "network.hidden=[64,64]"
    cfg = config(ENV, *usual, *settings)
    assert choose(cfg, 2, on_cpu=True) == Layout(1, devices)
