"""Evaluation is unbiased and changes no state; loaded policies act as in training."""

import csv
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces
from support.agents import SPACES, agent_of
from support.scripted_envs import TERMINATED, Scripted
from support.small_runs import arrays, assert_same_bytes, config, resolved, snapshot

import pgcli
from pgcli.arrays.statistics import num_distinct
from pgcli.cli.main import main
from pgcli.cli.terminal.formatting import interval
from pgcli.config.schema import NetworkConfig
from pgcli.envs import user_modules
from pgcli.envs.base import Box, DeviceEnv, Discrete, EnvSpec, Step
from pgcli.envs.host.in_process import InProcess
from pgcli.envs.make import make_device_env
from pgcli.errors import CheckpointError, ExitCode, UsageError
from pgcli.nn.policy import Agent, Policy, make_policy
from pgcli.storage import checkpoint
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.evaluation import device
from pgcli.training.evaluation.device import DeviceEvaluator, evaluate_on_device
from pgcli.training.evaluation.host import HostEvaluator, eval_envs, quotas
from pgcli.training.evaluation.load_policy import LoadedPolicy
from pgcli.training.evaluation.saved_agents import Trained
from pgcli.training.loops.base import Loop
from pgcli.training.loops.device_loop import DeviceLoop
from pgcli.training.loops.host_loop import HostLoop
from pgcli.training.stop_signals import EvaluationStopped
from pgcli.training.tracker import RunTracker


def acting(spec: EnvSpec) -> tuple[Policy, Agent]:
    policy = make_policy(spec, NetworkConfig(hidden=(4,)))
    return policy, Agent(policy.init(jax.random.key(0)), None)


def test_quotas_are_fixed_beforehand_and_even() -> None:
    assert quotas(10, 4).tolist() == [3, 3, 2, 2]
    assert quotas(2, 4).tolist() == [1, 1, 0, 0]
    assert [eval_envs(n) for n in (1, 20, 64, 100)] == [1, 20, 32, 25]
    assert sum(quotas(97, eval_envs(97))) == 97


@pytest.mark.parametrize("episodes", [6, 7])
def test_host_evaluation_counts_episodes_not_the_first_to_end(episodes: int) -> None:
    """One environment has episodes of 1 step, the other of 20.

    The first 6 episodes to end are all short, so their mean would be the short return.
    With quotas, each environment plays 3.
    """
    envs = [Scripted(((1, TERMINATED),), 0), Scripted(((20, TERMINATED),), 1)]
    env = InProcess(list(envs), [1, 2], "Scripted-v0")
    policy, agent = acting(env.spec)
    play = HostEvaluator(policy, True).play
    returns, lengths, *_, which = play(env, agent, episodes, jax.random.key(0))
    short = episodes - 3
    assert lengths.tolist() == [1] * short + [20] * 3
    assert which.tolist() == [0] * short + [1] * 3
    # an episode e of length L pays Σ (1 + 0.1 t) + 0.01 e L = L + 0.05 L (L + 1) + …
    paid = [1.1 + 0.01 * e for e in range(short)] + [41 + 0.2 * e for e in range(3)]
    np.testing.assert_allclose(returns, paid, rtol=1e-6)


def test_host_evaluation_reports_the_episodes_that_have_ended() -> None:
    envs = [Scripted(((1, TERMINATED),), 0), Scripted(((3, TERMINATED),), 1)]
    env = InProcess(list(envs), [1, 2], "Scripted-v0")
    policy, agent = acting(env.spec)
    seen: list[int] = []

    def stop(done: int) -> bool:
        seen.append(done)
        return False

    HostEvaluator(policy, True).play(env, agent, 4, jax.random.key(0), stop)
    # two episodes each: after steps 1, 2 and 3, where both end one, the quotas are full
    assert seen[0] == 0
    assert seen == sorted(seen)
    assert set(seen) <= {0, 1, 2, 3}


def lottery() -> DeviceEnv:
    """An environment with episodes of 1 or 50 steps at random; the reward is 1."""

    def reset(key: jax.Array) -> tuple[Any, jax.Array]:
        length = jnp.where(jax.random.bernoulli(key), 1, 50)
        return (length, jnp.int32(0)), jnp.zeros(1)

    def step(key: jax.Array, state: Any, action: jax.Array) -> tuple[Any, Step]:
        length, t = state
        after = Step(jnp.zeros(1), jnp.float32(1), t + 1 >= length, jnp.array(False))
        return (length, t + 1), after

    box = Box((1,), "float32", -1.0, 1.0)
    return DeviceEnv(EnvSpec("lottery", box, Discrete(2), 50), reset, step)


def test_device_evaluation_plays_one_whole_episode_per_environment() -> None:
    env = lottery()
    policy, agent = acting(env.spec)
    play = jax.jit(partial(evaluate_on_device, env, policy, 200, True))
    returns, lengths = play(agent, jax.random.key(1))[:2]
    assert set(lengths.tolist()) == {1, 50}
    np.testing.assert_array_equal(returns, lengths.astype(jnp.float32))
    # 200 fair draws: within 4 standard deviations (√50) of 100; by steps about 4
    assert abs(int((lengths == 50).sum()) - 100) < 29


def test_device_evaluation_in_many_calls_is_that_of_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device, "CALL_SECONDS", 0.0)  # a step per call
    env, key = lottery(), jax.random.key(0)
    policy, agent = acting(env.spec)
    whole = jax.jit(partial(evaluate_on_device, env, policy, 200, True))(agent, key)
    seen: list[int] = []
    evaluator = DeviceEvaluator(env, policy, 200, True)
    for _ in range(2):
        seen.clear()
        played = evaluator.play(agent, key, 0, lambda done: bool(seen.append(done)))
        np.testing.assert_array_equal(played.returns, whole.returns)
        np.testing.assert_array_equal(played.lengths, whole.lengths)
    lengths = np.asarray(whole.lengths)
    assert seen == [int((lengths <= n).sum()) for n in range(lengths.max())]
    with pytest.raises(EvaluationStopped):
        evaluator.play(agent, key, 0, lambda done: done > 0)


@pytest.fixture(scope="module", params=["device", "host"])
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    limit = "env.max_episode_steps=30"
    if request.param == "host":
        loop: Any = HostLoop(config("CartPole-v1", limit, algo="a2c"))
    else:
        cfg = config("func:CartPole-v1", limit, algo="a2c")
        loop = DeviceLoop(cfg, make_device_env(cfg.env))
    loop.advance(1, 1.0)
    yield loop
    loop.close()


def test_evaluation_changes_nothing_and_repeats_itself(loop: Any) -> None:
    before = snapshot(loop)
    assert before["agent.obs_stats.count"].any()  # there are statistics to freeze
    returns, lengths = loop.evaluate(6, "selection", 0)[:2]
    assert_same_bytes(snapshot(loop), before)
    assert len(returns) == len(lengths) == 6
    again = loop.evaluate(6, "selection", 0).returns
    np.testing.assert_array_equal(returns, again)


def test_evaluation_streams_differ_by_role_and_seed(loop: Any) -> None:
    selection, reporting, other = (
        loop.evaluate(16, role, seed)[0]
        for role, seed in (("selection", 0), ("reporting", 0), ("selection", 1))
    )
    assert (selection != reporting).any()
    assert (selection != other).any()


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of two runs: `cart` with a best checkpoint, `pendulum` without."""
    runs_dir = tmp_path_factory.mktemp("runs")
    limit = "env.max_episode_steps=30"
    often = ("steps=128", "eval.every=32", "checkpoint.every=32")
    for name, env_id, sets in (
        ("cart", "func:CartPole-v1", (limit, *often)),
        ("pendulum", "Pendulum-v1", (limit, "steps=32", "eval.every=0")),
    ):
        given = resolved(env_id, *sets, algo="a2c")
        pgcli.train(given, runs_dir=runs_dir, name=name)
    return runs_dir


def test_public_functions_are_those_of_the_modules() -> None:
    import pgcli.training.run

    assert pgcli.train is pgcli.training.run.train
    assert pgcli.load_policy.__module__ == "pgcli.training.evaluation.load_policy"


def test_evaluate_takes_a_run_a_checkpoint_or_the_best(runs_dir: Path) -> None:
    last = pgcli.evaluate("cart", runs_dir=runs_dir, episodes=5)
    assert last["iteration"] == 4
    assert last["episodes"] == len(last["per_episode"]) == 5
    assert last["return_mean"] == np.mean([r["return"] for r in last["per_episode"]])
    by_path = pgcli.evaluate(last["checkpoint"], episodes=5)
    assert by_path["per_episode"] == last["per_episode"]
    run = RunDirectory(runs_dir / "cart")
    best = run.best()
    assert best is not None
    report = pgcli.evaluate("cart", runs_dir=runs_dir, episodes=5, best=True)
    assert report["iteration"] == int(best[0])
    with pytest.raises(UsageError, match="--best needs a run"):
        pgcli.evaluate(last["checkpoint"], best=True)
    with pytest.raises(CheckpointError, match="no evaluation"):
        pgcli.evaluate("pendulum", runs_dir=runs_dir, best=True)


def test_evaluate_names_a_copy_of_a_run_not_the_original(
    runs_dir: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(runs_dir / "cart", tmp_path / "copy"))
    result = pgcli.evaluate(copy, episodes=5)
    assert result["run"] == "copy"
    assert Path(result["checkpoint"]).parent == copy / "checkpoints"


def test_evaluate_says_if_the_best_checkpoint_is_gone(
    runs_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(runs_dir / "cart", tmp_path / "cart")
    best = RunDirectory(tmp_path / "cart").best()
    assert best is not None
    # as after a fallback to an older checkpoint
    shutil.rmtree(tmp_path / "cart" / "checkpoints" / best[0])
    with pytest.raises(CheckpointError, match=f"{best[0]}, is no longer there"):
        pgcli.evaluate("cart", runs_dir=tmp_path, best=True)


def test_evaluate_repeats_itself_and_minds_the_seed(runs_dir: Path) -> None:
    a, b, c = (
        pgcli.evaluate("pendulum", runs_dir=runs_dir, episodes=6, seed=seed)
        for seed in (0, 0, 1)
    )
    assert a == b
    assert a["per_episode"] != c["per_episode"]
    assert {row["env"] for row in a["per_episode"]} == set(range(6))
    sampled = pgcli.evaluate(
        "pendulum", runs_dir=runs_dir, episodes=6, deterministic=False
    )
    assert sampled["per_episode"] != a["per_episode"]


def test_evaluate_on_another_environment_names_both_sides(
    runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--runs-dir", str(runs_dir), "--episodes", "3"]
    assert main(["eval", "cart", "--env", "Pendulum-v1", *words]) == 4
    shown = capsys.readouterr().err
    assert "observations of Pendulum-v1 are float32[3]" in shown
    assert "trained on float32[4]" in shown
    assert main(["eval", "cart", "--env", "CartPole-v1", *words]) == ExitCode.DONE


def test_evaluate_writes_one_row_per_episode(runs_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "episodes.csv"
    words = ["--runs-dir", str(runs_dir), "--episodes", "5"]
    assert main(["eval", "pendulum", "--episodes-out", str(path), "-q", *words]) == 0
    with path.open() as stream:
        table = list(csv.DictReader(stream))
    assert len(table) == 5
    assert len({row["seed"] for row in table}) == 5


def test_evaluate_refuses_a_damaged_checkpoint(runs_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(runs_dir / "cart", tmp_path / "cart")
    newest = checkpoint.committed(tmp_path / "cart" / "checkpoints")[-1]
    data = bytearray((newest / "agent.safetensors").read_bytes())
    data[-1] ^= 1
    (newest / "agent.safetensors").write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="SHA-256"):
        pgcli.evaluate("cart", runs_dir=tmp_path, episodes=1)


@pytest.mark.parametrize(
    ("obs", "words"),
    [
        (np.zeros(3), "shape"),
        (np.zeros(4, complex), "has the dtype complex128"),
        (np.full(4, np.nan), "is not finite"),
        (np.full(4, 1e300), "is not finite"),
    ],
)
def test_load_policy_refuses_what_it_was_not_trained_on(
    runs_dir: Path, obs: np.ndarray, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        pgcli.load_policy(runs_dir / "cart")(obs)


def test_load_policy_acts_on_one_observation_and_on_many(runs_dir: Path) -> None:
    policy = pgcli.load_policy(runs_dir / "cart")
    obs = np.random.default_rng(0).normal(size=(7, 4))
    many = policy(obs)
    assert many.shape == (7,)
    assert [policy(row) for row in obs] == many.tolist()
    assert type(policy(obs[0])) is np.int64  # as from `sample`
    env = gymnasium.make("CartPole-v1")
    first, _ = env.reset(seed=0)
    env.step(policy(first))


def test_load_policy_takes_an_observation_as_the_agent_sees_it(runs_dir: Path) -> None:
    """Normalisation statistics are part of the policy."""
    policy = pgcli.load_policy(runs_dir / "cart")
    agent = policy.trained.agent
    obs = np.float32([[0.1, 0.2, 0.03, -0.3]] * 2) * [[1], [-1]]
    stats = agent.obs_stats
    scaled = (obs - np.asarray(stats.mean)) / np.sqrt(np.asarray(stats.var))
    start = jnp.zeros(2, bool)
    _, dist, _ = policy.trained.policy.apply(
        agent.params, (), jnp.float32(scaled.clip(-10, 10)), start
    )
    np.testing.assert_array_equal(policy(obs), np.asarray(dist.logits).argmax(-1))


@pytest.mark.parametrize("shape", [(), (3,), (5, 3), (2, 2, 4), (4, 1)])
def test_load_policy_refuses_an_observation_of_another_shape(
    runs_dir: Path, shape: tuple[int, ...]
) -> None:
    policy = pgcli.load_policy(runs_dir / "cart")
    with pytest.raises(ValueError, match=r"expected \[4\], or a batch \[N, 4\]"):
        policy(np.zeros(shape))


@pytest.fixture(scope="module")
def remembering() -> LoadedPolicy:
    """A policy whose next action depends on all observations of the episode."""
    network = NetworkConfig(hidden=(8,), memory="gru", memory_size=8)
    spec = EnvSpec("toy", SPACES["box"], Box((2,), "float32", -1e3, 1e3))
    agent = jax.device_put(agent_of(spec, network, normalized=False))
    policy = make_policy(spec, network)
    cfg = config("func:CartPole-v1")
    trained = Trained(Path("toy"), "toy", cfg, spec, policy, agent, 1, ())
    return LoadedPolicy(trained, deterministic=True, seed=0)


def test_loaded_memory_lasts_until_its_reset(remembering: LoadedPolicy) -> None:
    size = remembering.trained.spec.obs.shape
    obs = np.random.default_rng(0).normal(size=(3, 4, *size)).astype(np.float32)
    remembering.reset()
    batch = [remembering(row) for row in obs]
    assert not np.allclose(batch[0], remembering(obs[0]))  # it remembers
    for n in range(4):  # every row of a batch has its own memory
        remembering.reset()
        alone = [remembering(row[n]) for row in obs]
        np.testing.assert_allclose(alone, [row[n] for row in batch], atol=1e-5)
    # two of four rows begin an episode
    remembering.reset()
    remembering(obs[1])
    remembering.reset([0, 2])
    mixed = remembering(obs[0])
    np.testing.assert_allclose(mixed[[0, 2]], batch[0][[0, 2]], atol=1e-5)
    assert not np.isclose(mixed[[1, 3]], batch[0][[1, 3]]).any()
    with pytest.raises(ValueError, match="2 observations after 4"):
        remembering(obs[0][:2])


def test_load_policy_clips_continuous_actions_to_their_bounds(runs_dir: Path) -> None:
    policy = pgcli.load_policy(runs_dir / "pendulum", deterministic=False)
    obs = np.tile(np.float32([1.0, 0.0, 0.5]), (3000, 1))
    actions = policy(obs)
    assert actions.shape == (3000, 1)
    # N(≈0, 1) passes 2 about 5 times in 100
    assert (actions == 2).any()
    assert (actions == -2).any()
    assert (np.abs(actions) <= 2).all()
    assert (policy(obs) != actions).any()
    assert policy(obs[0]).shape == (1,)
    space = spaces.Box(-2, 2, (1,), np.float32)
    assert space.contains(policy(obs[0]))


def test_load_policy_sampling_repeats_itself_by_seed(runs_dir: Path) -> None:
    obs = np.zeros((50, 3), np.float32)
    a, b, c = (
        pgcli.load_policy(runs_dir / "pendulum", deterministic=False, seed=seed)(obs)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(a, b)
    assert (a != c).all()


def test_snapshot_has_arrays_for_everything(loop: Any) -> None:
    assert all(isinstance(x, np.ndarray) for x in arrays(loop.snapshot()).values())


@pytest.mark.parametrize(
    ("returns", "lengths", "first", "expected"),
    [
        ([1.0, 1.0], [3, 3], [7, 7], 1),
        ([1.0, 1.000001], [3, 3], [7, 7], 1),  # rounding of equal rows
        ([1.0, 1.001], [3, 3], [7, 7], 2),
        ([1.0, 1.0], [3, 4], [7, 7], 2),
        ([500.0, 500.0], [500, 500], [7, 8], 2),  # other starts, both solved
    ],
)
def test_num_distinct_compares_start_return_and_length(
    returns: list[float], lengths: list[int], first: list[int], expected: int
) -> None:
    played = (np.array(x) for x in (returns, lengths, first))
    assert num_distinct(*played) == expected


def test_evaluation_counts_distinct_episodes(loop: Any) -> None:
    """Every episode of CartPole begins in another state."""
    played = loop.evaluate(6, "selection", 0)
    assert num_distinct(*played[:3]) == 6
    again = loop.evaluate(6, "selection", 0)
    np.testing.assert_array_equal(played.first, again.first)


@pytest.mark.parametrize("env_id", ["cases.endless:Endless-v0", "func:Same"])
def test_an_evaluation_that_repeats_one_episode_has_no_interval(
    env_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_modules, "NAMED", [])
    user_modules.use(["cases.endless", "cases.nan_eval"])
    cfg = config(env_id)
    loop: Any = (
        DeviceLoop(cfg, make_device_env(cfg.env))
        if cfg.env.on_device
        else HostLoop(cfg)
    )
    scores, (row,) = RunTracker().evaluation(loop.evaluate(6, "selection", 0))
    loop.close()
    assert row["n_distinct"] == 1
    assert interval(scores) == (
        "5.0, no interval: all 6 episodes are the same, deterministic"
    )
