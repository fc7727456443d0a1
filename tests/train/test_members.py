"""Runs side by side are what each would be alone; devices change rounding only."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest
from train.small import arrays, assert_same_bytes, config

from pgcli.config.load import resolve
from pgcli.config.members import cells, config_of, members
from pgcli.config.schema import RunConfig
from pgcli.envs.registry import make_device_env, make_host_env
from pgcli.errors import AcceleratorError, DivergedError
from pgcli.train.device_loop import DeviceLoop
from pgcli.train.host_loop import HostLoop
from pgcli.train.loop import Row
from pgcli.train.member_loops import DeviceMembers, HostMembers
from pgcli.train.parallel import Layout, choose, make_mesh
from pgcli.train.seeds import env_seeds

ENV = "func:CartPole-v1"
CLOSE = 1e-5
"""Batched and split sums round differently; three updates do not carry it further."""


def side_by_side(
    *sets: str, algo: str = "ppo2", devices: int = 1, **changes: Any
) -> DeviceMembers:
    cfg = dataclasses.replace(config(ENV, *sets, algo=algo), **changes)
    mesh = make_mesh(Layout(devices, 1))
    return DeviceMembers(cfg, make_device_env(cfg.env), mesh)


def alone(cfg: RunConfig, data: int = 1) -> DeviceLoop:
    return DeviceLoop(cfg, make_device_env(cfg.env), mesh=make_mesh(Layout(1, data)))


def advance(loop: Any, iterations: int) -> list[Row]:
    rows: list[Row] = []
    for _ in range(iterations):
        rows += loop.advance(loop.steps + 1, 1.0)
    return rows


def params(loop: Any, member: int | None = None) -> np.ndarray:
    leaves = [x for k, x in arrays(loop.snapshot()).items() if k.startswith("agent")]
    chosen = leaves if member is None else [leaf[member] for leaf in leaves]
    return np.concatenate([leaf.ravel().astype(np.float64) for leaf in chosen])


@pytest.mark.parametrize(
    ("algo", "devices"),
    [
        ("ppo2", 2),
        ("reward-to-go", 1),
        pytest.param("ppo2", 1, marks=pytest.mark.slow),
        pytest.param("reward-to-go", 2, marks=pytest.mark.slow),
    ],
)
def test_members_are_what_each_is_alone(algo: str, devices: int) -> None:
    loop = side_by_side(algo=algo, devices=devices, seeds=2)
    rows = advance(loop, 3)
    for member in loop.members:
        single = alone(config_of(config(ENV, algo=algo), member))
        expected = advance(single, 3)
        mine = [row for row in rows if row["seed"] == member.seed]
        assert [row["steps"] for row in mine] == [row["steps"] for row in expected]
        np.testing.assert_allclose(
            params(loop, member.index), params(single), atol=CLOSE, rtol=CLOSE
        )


def test_members_of_a_grid_have_its_values() -> None:
    loop = side_by_side(grid={"optimizer.lr": (1e-4, 1e-2)}, seeds=2)
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
    loop, single = side_by_side(seeds=2), alone(config(ENV, seed=1))
    returns, lengths = loop.evaluate(6, "reporting", 0)
    expected = single.evaluate(6, "reporting", 1)
    assert returns.shape == (2, 6)
    np.testing.assert_array_equal(returns[1], expected[0])
    np.testing.assert_array_equal(lengths[1], expected[1])


def test_members_resume_byte_for_byte() -> None:
    undisturbed = side_by_side(seeds=2)
    advance(undisturbed, 4)
    first, second = side_by_side(seeds=2), side_by_side(seeds=2)
    advance(first, 2)
    assert second.restore(first.snapshot(), "here") == "exact"
    assert (second.iteration, second.steps) == (first.iteration, first.steps)
    advance(second, 2)
    assert_same_bytes(arrays(second.snapshot()), arrays(undisturbed.snapshot()))


def test_member_that_diverges_leaves_the_others_alone() -> None:
    loop, calm = side_by_side(seeds=2), side_by_side(seeds=2)
    loop._states = jax.tree_util.tree_map_with_path(
        lambda path, x: (
            x.at[0].set(np.nan) if "policy" in jax.tree_util.keystr(path) else x
        ),
        loop._states,
    )
    rows, expected = advance(loop, 2), advance(calm, 2)
    assert list(loop.diverged) == [0]
    assert [row["seed"] for row in rows] == [1, 1]
    assert rows == [row for row in expected if row["seed"] == 1]
    with pytest.raises(DivergedError, match="every run diverged; seed 1"):
        loop.retire(1, "so be it")


def test_host_members_are_what_each_is_alone() -> None:
    cfg = dataclasses.replace(config("CartPole-v1"), seeds=2)

    def make(cfg: RunConfig) -> Any:
        count = cfg.env.num_envs
        return make_host_env(cfg.env, count, env_seeds(cfg.seed, "train", count))

    loop = HostMembers(cfg, make, make(cfg))
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


@pytest.mark.parametrize(
    ("algo", "sets"),
    [
        ("ppo2", ("algo.recompute_advantage=true",)),
        ("trpo", ("algo.num_minibatches=2",)),
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
    rows, split = advance(one, 3), advance(two, 3)
    np.testing.assert_allclose(params(two), params(one), atol=CLOSE, rtol=CLOSE)
    assert [r["return_mean"] for r in split] == [r["return_mean"] for r in rows]


def test_two_devices_resume_byte_for_byte() -> None:
    cfg = config(ENV)
    undisturbed, first, second = (alone(cfg, data=2) for _ in range(3))
    advance(undisturbed, 4)
    advance(first, 2)
    second.restore(first.snapshot(), "here")
    advance(second, 2)
    assert_same_bytes(arrays(second.snapshot()), arrays(undisturbed.snapshot()))


def test_layout_gives_devices_to_seeds_before_the_batch() -> None:
    large = config(ENV, "env.num_envs=64", "rollout.num_steps=128")
    small = config(ENV)
    assert choose(large, 2, on_cpu=True) == Layout(1, 2)
    assert choose(large, 3, on_cpu=True) == Layout(1, 2)  # 8 rows: 1, 2, 4 or 8
    assert choose(small, 2, on_cpu=True) == Layout(1, 1)
    assert choose(small, 2, on_cpu=False) == Layout(1, 2)
    seeds = dataclasses.replace(large, seeds=6)
    assert choose(seeds, 4, on_cpu=True) == Layout(3, 1)
    assert choose(config("CartPole-v1"), 2, on_cpu=True) == Layout(1, 1)


def test_more_devices_than_there_are_is_an_error() -> None:
    with pytest.raises(AcceleratorError, match="4 devices were asked for"):
        choose(config(ENV, "parallel.devices=4"), 2, on_cpu=True)


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
