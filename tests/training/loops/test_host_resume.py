"""Resumed runs on host environments end as if uninterrupted."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import pytest
from cases.capture import register as register_cases
from gymnasium.envs.classic_control import CartPoleEnv
from support.checkpoints import digest
from support.small_runs import BATCH, assert_same_bytes, config, resolved, snapshot
from support.stateful_envs import Hidden, make, register

from pgcli.algos import ALGORITHMS
from pgcli.envs.state.physics_engines import NotRestoredError
from pgcli.envs.waiting import Abandoned
from pgcli.storage import checkpoint
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.loops import host_env_checkpoint
from pgcli.training.loops.base import Groups, Row
from pgcli.training.loops.host_loop import HostLoop
from pgcli.training.run import train

register()
register_cases()

SLOW = pytest.mark.slow
NATIVE = "host.vectorizer=native"
THREAD = "host.workers=thread"
MEMORY = "network.memory=lstm"
LONGER = "env.max_episode_steps=13"  # so that episodes outlast rollouts of 8 steps


def advance(loop: HostLoop, iterations: int) -> list[Row]:
    rows: list[Row] = []
    for _ in range(iterations):
        rows += loop.advance(loop.steps + 1, 1.0)
    return rows


def through_disk(groups: Groups, directory: Path) -> Groups:
    path = checkpoint.save(directory, "1", groups, {})
    return checkpoint.load(path).groups


def assert_continues(
    cfg: Any, directory: Path, iterations: int, at: int, elsewhere: Any = None
) -> None:
    """Checks that a loop and a copy restored from it continue equally."""
    one, other = HostLoop(cfg), HostLoop(elsewhere or cfg)
    try:
        advance(one, at)
        assert other.restore(through_disk(one.snapshot(), directory), "x") == "exact"
        expected = advance(one, iterations - at)
        assert advance(other, iterations - at) == expected
        assert_same_bytes(snapshot(other), snapshot(one))
        assert one.news() + other.news() == []
    finally:
        one.close()
        other.close()


@pytest.mark.parametrize(
    ("env_id", "sets", "algo", "needs"),
    [
        ("CartPole-v1", ("network.memory=lstm", LONGER), "ppo2", None),
        *[
            # as many environments as minibatches, where those cannot be fewer
            pytest.param(
                "CartPole-v1",
                ("network.memory=gru", LONGER, "env.num_envs=8"),
                *(algo, None),
                marks=SLOW,
            )
            for algo in sorted(ALGORITHMS)
        ],
        pytest.param("CartPole-v1", (), "reinforce", None, marks=SLOW),
        pytest.param("CartPole-v1", (NATIVE, LONGER), "ppo2", None, marks=SLOW),
        pytest.param("CartPole-v1", (THREAD, LONGER), "ppo2", None, marks=SLOW),
        pytest.param("Pendulum-v1", (LONGER,), "ppo2", None, marks=SLOW),
        pytest.param("pgcli/Rich-v0", (LONGER,), "a2c", None, marks=SLOW),
        pytest.param("pgcli/Opaque-v0", (), "a2c", None, marks=SLOW),
        pytest.param("pgcli/Opaque-v0", (), "reinforce", None, marks=SLOW),
        pytest.param("CartPole-v1", (NATIVE,), "reinforce", None, marks=SLOW),
        pytest.param("HalfCheetah-v5", (LONGER,), "ppo2", "mujoco", marks=SLOW),
        pytest.param("Humanoid-v5", (LONGER,), "trpo", "mujoco", marks=SLOW),
        pytest.param("LunarLander-v3", (LONGER,), "ppo2", "Box2D", marks=SLOW),
        pytest.param("LunarLander-v3", (), "reinforce", "Box2D", marks=SLOW),
    ],
)
def test_restored_run_continues_byte_for_byte(
    tmp_path: Path, env_id: str, sets: tuple[str, ...], algo: str, needs: str | None
) -> None:
    """Ten iterations equal five, a checkpoint, and five by a restored loop."""
    if needs is not None:
        pytest.importorskip(needs)
    assert_continues(config(env_id, *sets, algo=algo), tmp_path, 10, 5)


@pytest.mark.parametrize(
    ("env_id", "workers"),
    [
        ("CartPole-v1", (0, 1)),
        pytest.param("CartPole-v1", (1, 0), marks=SLOW),
        pytest.param("CartPole-v1", (1, 3), marks=SLOW),
        pytest.param("pgcli/Opaque-v0", (1, 0), marks=SLOW),
    ],
)
def test_run_continues_byte_for_byte_with_other_workers(
    tmp_path: Path, env_id: str, workers: tuple[int, int]
) -> None:
    before, after = (config(env_id, LONGER, f"host.workers={w}") for w in workers)
    assert_continues(before, tmp_path, 10, 5, after)


@pytest.mark.slow
@pytest.mark.parametrize("at", range(12))
@pytest.mark.parametrize("algo", ["ppo2", "reinforce", "a2c"])
@pytest.mark.parametrize("env_id", ["CartPole-v1", "pgcli/Opaque-v0"])
def test_run_restored_after_any_iteration_continues_byte_for_byte(
    tmp_path: Path, env_id: str, algo: str, at: int
) -> None:
    assert_continues(config(env_id, LONGER, algo=algo), tmp_path, 12, at)


def ending(runs_dir: Path, result: dict[str, Any]) -> dict[str, Any]:
    run = RunDirectory(runs_dir / "x")
    best = run.best()
    assert best is not None
    return {
        "metrics.jsonl": run.metrics_jsonl.read_bytes(),
        "eval.jsonl": run.eval_jsonl.read_bytes(),
        "last": digest(checkpoint.committed(run.checkpoints)[-1]),
        "best": (best, digest(run.checkpoints / best[0])),
        "result": {key: result[key] for key in ("steps", "train", "eval")},
    }


@pytest.mark.parametrize(
    ("env_id", "algo", "needs"),
    [
        pytest.param("CartPole-v1", "ppo2", None, marks=SLOW),
        pytest.param("Pendulum-v1", "a2c", None, marks=SLOW),
        pytest.param("HalfCheetah-v5", "ppo2", "mujoco", marks=SLOW),
        pytest.param("LunarLander-v3", "ppo2", "Box2D", marks=SLOW),
    ],
)
def test_run_resumed_by_another_process_ends_like_the_undisturbed(
    tmp_path: Path, env_id: str, algo: str, needs: str | None
) -> None:
    if needs is not None:
        pytest.importorskip(needs)

    def run(runs_dir: Path, iterations: int) -> dict[str, Any]:
        sets = (LONGER, f"eval.every={2 * BATCH}", f"checkpoint.every={3 * BATCH}")
        asked = resolved(env_id, *sets, f"steps={iterations * BATCH}", algo=algo)
        return train(asked, runs_dir=runs_dir, name="x")

    expected = ending(tmp_path / "a", run(tmp_path / "a", 10))
    run(tmp_path / "b", 5)
    words = ["resume", "x", "--steps", str(10 * BATCH), "--require-exact"]
    where = ["--runs-dir", str(tmp_path / "b"), "-q", "--json"]
    child = subprocess.run(
        [sys.executable, "-m", "pgcli", *words, *where],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    result = json.loads(child.stdout)
    assert result["resume_level"] == "exact"
    assert ending(tmp_path / "b", result) == expected


@pytest.mark.parametrize(
    ("then", "now", "reason"),
    [
        ({"numpy": "2"}, {"numpy": "2", "box2d": "1"}, None),
        ({"numpy": "2", "box2d": "1"}, {"numpy": "2"}, None),
        ({"numpy": "2"}, {"numpy": "3"}, "numpy was 2 .* and is 3 now"),
    ],
)
def test_states_fit_the_versions_of_libraries_that_took_part(
    then: Any, now: Any, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = make("pgcli/Walker-v0", "in_process", 1)
    monkeypatch.setattr(host_env_checkpoint, "libraries", lambda: then)
    group = host_env_checkpoint.store(env, None, 0, None)
    monkeypatch.setattr(host_env_checkpoint, "libraries", lambda: now)
    if reason is None:
        assert not host_env_checkpoint.StoredEnv(group, "x").begun
    else:
        with pytest.raises(NotRestoredError, match=reason):
            host_env_checkpoint.StoredEnv(group, "x")


class Halting(CartPoleEnv):
    """Is given up in the step with this number, as a long rollout by a signal."""

    at: ClassVar[int] = 10**9
    count: ClassVar[int] = 0

    def step(self, action: int) -> Any:
        type(self).count += 1
        if self.count == self.at:
            raise Abandoned
        return super().step(action)


@pytest.mark.parametrize(
    ("algo", "iterations"), [pytest.param("ppo2", 2, marks=SLOW), ("reinforce", 0)]
)
def test_rollout_that_is_given_up_is_repeated_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algo: str, iterations: int
) -> None:
    gymnasium.register("Halting-v0", Halting, max_episode_steps=5)
    monkeypatch.setattr("pgcli.training.loops.host_loop.PATIENCE_SECONDS", -1.0)
    cfg = config("Halting-v0", algo=algo)
    whole, loop, again = HostLoop(cfg), HostLoop(cfg), HostLoop(cfg)
    try:
        expected = advance(whole, iterations + 2)
        rows = advance(loop, iterations)
        monkeypatch.setattr(Halting, "at", Halting.count + 11)
        with pytest.raises(Abandoned):
            advance(loop, 1)
        stored = through_disk(loop.snapshot(), tmp_path)
        assert again.restore(stored, "x") == "exact"
        assert rows + advance(again, 2) == expected
        assert_same_bytes(snapshot(again), snapshot(whole))
    finally:
        del gymnasium.registry["Halting-v0"]


def test_environment_that_changes_the_directory_moves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    run = resolved("cases/Wanderer-v0", f"env.kwargs={{to: '{there}'}}")
    run = dataclasses.replace(
        run, config=dataclasses.replace(run.config, steps=2 * BATCH)
    )
    result = train(run, name="x")
    assert Path(result["checkpoint"]).parent == here / "runs/x/checkpoints"
    assert (here / "runs/x/result.json").is_file()
    assert list(there.iterdir()) == []


def test_environment_that_hides_its_state_is_found_out(tmp_path: Path) -> None:
    """Steps are counted by the class, which a copy of the object does not contain."""
    loop = HostLoop(config("pgcli/Hidden-v0"))
    advance(loop, 1)
    assert loop.news() == []
    advance(loop, 1)
    (news,) = loop.news()
    assert "begin new episodes on resume" in news
    assert "took another course: the observation of step 0" in news
    stored = through_disk(loop.snapshot(), tmp_path)
    assert loop.restore(stored, "x") == "learner-exact"
    (news,) = loop.news()
    assert news.startswith("environments begin new episodes")
    assert "took another course" in news
    loop.close()
    assert Hidden.steps > 8
