"""Byte-equal results for any division into chunks, and after save and restore."""

import numpy as np
import pytest
from support.shared_loops import advance, alone
from support.small_runs import BATCH, arrays, assert_same_bytes, config, snapshot

from pgcli.algos import ALGORITHMS
from pgcli.envs.make import make_device_env
from pgcli.errors import CheckpointError
from pgcli.storage import checkpoint
from pgcli.training.loops.base import Groups, Row, from_words, to_words
from pgcli.training.loops.chunk_size import Pace
from pgcli.training.loops.device_loop import DeviceLoop
from pgcli.training.loops.host_loop import HostLoop
from pgcli.training.state import REMAINDER

ITERATIONS = 10


def made() -> DeviceLoop:
    """A new loop with its own compiled programs."""
    cfg = config("func:CartPole-v1", f"steps={ITERATIONS * BATCH}")
    return DeviceLoop(cfg, make_device_env(cfg.env))


def begun(seed: int = 0) -> DeviceLoop:
    """The loop that tests share, reset to its first iteration."""
    return alone(config("func:CartPole-v1", f"steps={ITERATIONS * BATCH}", seed=seed))


@pytest.fixture(scope="module")
def undisturbed() -> tuple[list[Row], Groups]:
    loop = begun()
    return advance(loop, ITERATIONS), snapshot(loop)


def test_chunks_of_one_are_one_chunk(
    undisturbed: tuple[list[Row], Groups], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pace, "begin", lambda self, seconds: ITERATIONS)
    loop = begun()
    rows = loop.advance(2**40, 1.0)
    assert rows == undisturbed[0]
    assert_same_bytes(snapshot(loop), undisturbed[1])


def test_chunk_ends_with_the_iteration_that_reaches_the_budget() -> None:
    loop = begun()
    advance(loop, 1)
    rows = loop.advance(3 * BATCH + 1, 100.0)
    while loop.steps < 3 * BATCH + 1:
        rows += loop.advance(3 * BATCH + 1, 100.0)
    # steps 32, 64, 96 and 128: the first count past 97 is 128
    assert [row["steps"] for row in rows] == [2 * BATCH, 3 * BATCH, 4 * BATCH]
    assert loop.iteration == 4
    assert from_words(loop.snapshot()["run"][".steps"]) == 4 * BATCH


def test_same_seed_is_the_same_run(undisturbed: tuple[list[Row], Groups]) -> None:
    loop = made()
    assert advance(loop, ITERATIONS) == undisturbed[0]
    assert_same_bytes(snapshot(loop), undisturbed[1])


def test_another_seed_is_another_run(undisturbed: tuple[list[Row], Groups]) -> None:
    loop = begun(seed=1)
    advance(loop, 1)
    for name, actual in snapshot(loop).items():
        theirs = undisturbed[1][name]
        if name.startswith("agent") and name.endswith("['kernel']"):
            assert not np.isclose(actual, theirs, rtol=1e-3, atol=0).all(), name


def test_restore_continues_byte_for_byte(
    undisturbed: tuple[list[Row], Groups], tmp_path: object
) -> None:
    first = begun()
    # 4 iterations of 8 steps end within an episode: 32 = 6 · 5 + 2
    rows = advance(first, 4)
    groups = copied(first.snapshot())
    advance(first, 1)  # the discarded iteration must not change the copy
    second = begun()  # the same loop: `groups` are copies
    assert second.restore(groups, "here") == "exact"
    assert (second.iteration, second.steps) == (4, 4 * BATCH)
    assert rows + advance(second, ITERATIONS - 4) == undisturbed[0]
    assert_same_bytes(snapshot(second), undisturbed[1])


@pytest.mark.slow
@pytest.mark.parametrize("algo", sorted(ALGORITHMS))
def test_memory_is_part_of_what_is_restored(algo: str) -> None:
    # as many environments as minibatches, where those cannot be fewer
    sets = ("env.max_episode_steps=13", "env.num_envs=8", "network.memory=gru")
    cfg = config("func:CartPole-v1", *sets, "steps=1000", algo=algo)
    loop = alone(cfg)
    advance(loop, 3)
    groups = copied(loop.snapshot())
    carry = [name for name in groups["env"] if "carry" in name]
    if cfg.algo.collects == "steps":
        assert len(carry) == 2  # of the policy and of the value function
        assert all(groups["env"][name].any() for name in carry)
    expected, after = advance(loop, 2), snapshot(loop)
    second = alone(cfg)
    assert second.restore(groups, "here") == "exact"
    assert advance(second, 2) == expected
    assert_same_bytes(snapshot(second), after)


@pytest.mark.parametrize("word", [2**31, 2**32])
def test_steps_are_exact_past_32_bits(word: int) -> None:
    loop = begun()
    advance(loop, 1)
    groups = loop.snapshot()
    (name,) = (key for key in groups["run"] if key == ".steps")
    before = word - BATCH - 1
    groups["run"] = {**groups["run"], name: to_words(before)}
    loop.restore(groups, "here")
    assert loop.steps == before
    counted = [before + BATCH, before + 2 * BATCH, before + 3 * BATCH]
    assert [row["steps"] for row in advance(loop, 3)] == counted
    assert counted[0] < word < counted[1]
    groups = copied(loop.snapshot())
    again = begun()
    again.restore(groups, "here")
    assert again.steps == counted[-1]


def copied(groups: Groups) -> Groups:
    return {g: {k: v.copy() for k, v in m.items()} for g, m in groups.items()}


def without(groups: Groups, group: str, name: str) -> Groups:
    kept = {k: v for k, v in groups[group].items() if k != name}
    return {**groups, group: kept}


@pytest.mark.parametrize("kind", ["device", "host"])
def test_restore_needs_every_array(kind: str) -> None:
    loop: DeviceLoop | HostLoop = begun()
    if kind == "host":
        loop = HostLoop(config("CartPole-v1"))
        advance(loop, 1)
    groups = loop.snapshot()
    assert set(groups) == set(loop.groups)
    assert len(arrays(groups)) > 20
    for group, members in groups.items():
        # checkpoints of older versions have no remainders
        for name in members.keys() - {REMAINDER}:
            with pytest.raises(CheckpointError, match="lacks") as caught:
                loop.restore(without(groups, group, name), "runs/x")
            assert name in caught.value.message
            assert caught.value.where == "runs/x"
    loop.close()


def test_restore_names_both_sides_of_what_does_not_fit() -> None:
    loop = begun()
    groups = loop.snapshot()
    extra = {**groups, "env": {**groups["env"], ".moon": np.zeros(1)}}
    with pytest.raises(CheckpointError, match=r"unknown \.moon"):
        loop.restore(extra, "runs/x")
    name = ".tally.return_"
    wrong = {**groups, "run": {**groups["run"], name: np.zeros(9)}}
    with pytest.raises(CheckpointError, match=r"float64\[9\].*float32\[4\]"):
        loop.restore(wrong, "runs/x")


def test_checkpoint_without_a_group_is_refused_by_name(tmp_path: object) -> None:
    loop = begun()
    groups = loop.snapshot()
    del groups["env"]
    path = checkpoint.save(tmp_path, "000000000", groups, {})  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="no env"):
        checkpoint.load(path, loop.groups)


def test_steps_are_real_transitions_only() -> None:
    """Native CartPole uses a row for every reset: 5 steps and one reset per episode."""
    loop = HostLoop(config("CartPole-v1", "host.vectorizer=native", algo="a2c"))
    last = advance(loop, 3)[-1]
    # 24 rows in each of 4 environments are 4 episodes of 5 steps and 4 resets
    assert (last["steps"], last["episodes"]) == (4 * 4 * 5, 4 * 4)
    assert loop.steps == 80
    assert (last["return_mean"], last["length_mean"]) == (5.0, 5.0)
    loop.close()


def test_host_restore_is_learner_exact_and_plays_no_episode_twice() -> None:
    """The learner is bit-exact; episodes that were not finished are discarded."""
    cfg = config("CartPole-v1", "env.max_episode_steps=100")
    loop = HostLoop(cfg)
    advance(loop, 1)
    resets = np.array(loop._collector._buffers[0].obs[0])
    advance(loop, 2)
    groups = copied(loop.snapshot())
    other = HostLoop(cfg)
    del groups["env"]  # as in checkpoints of older versions
    assert other.restore(groups, "here") == "learner-exact"
    (news,) = other.news()
    assert "begin new episodes: the checkpoint is from before they were stored" in news
    restarted = (".tally.return_", ".tally.length", ".reward_scaler.discounted")
    assert all((groups["run"][name] != 0).any() for name in restarted)
    restarted = (*restarted, REMAINDER)
    actual = {g: m for g, m in other.snapshot().items() if g in groups}
    actual = arrays(actual)
    for name, array in arrays(groups).items():
        if name.removeprefix("run") in restarted:
            assert (actual[name] == 0).all()
        else:
            assert actual[name].tobytes() == array.tobytes(), name
    rows = advance(other, 2)
    assert [row["iteration"] for row in rows] == [4, 5]
    assert [row["steps"] for row in rows] == [4 * BATCH, 5 * BATCH]
    first = other._collector._buffers[0].obs[0]
    assert not (first[:, None] == resets[None]).all(axis=-1).any()
    loop.close()
    other.close()
