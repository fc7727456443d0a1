"""Agents without parameters, and environments that differ from the training's."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from gymnasium import spaces
from support.small_runs import resolved

import pgcli
from pgcli.cli.main import main
from pgcli.config.env_values import with_values
from pgcli.config.errors import ConfigError
from pgcli.config.schema import EnvConfig
from pgcli.envs.actions import env_action
from pgcli.envs.base import Discrete, EnvSpec, MultiBinary, MultiDiscrete
from pgcli.envs.spaces import from_gymnasium
from pgcli.errors import CheckpointError, ExitCode, UsageError
from pgcli.training.evaluation.chance import NO_AGENT, chance_policy

BRIEF = ("steps=32", "eval.every=0", "eval.final_episodes=0")


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs")
    pgcli.train(resolved("CartPole-v1", *BRIEF), runs_dir=path, name="a")
    return path


def actions(space: Any, kind: Any, count: int = 4000) -> np.ndarray:
    """What the environment gets from such an agent, in `count` states."""
    spec = EnvSpec("x", Discrete(2), space)
    policy = chance_policy(spec, kind)
    start = np.zeros(count, bool)
    _, dist, _ = policy.apply(NO_AGENT.params, (), np.zeros(count), start)
    if kind == "zero":
        return np.asarray(env_action(space, np.asarray(dist.mode())))
    keys = jax.random.split(jax.random.key(0), count)
    noise = jax.vmap(lambda key: dist.noise(key, ()))(keys)
    return np.asarray(env_action(space, np.asarray(dist.sample(noise))))


@pytest.mark.parametrize(
    "space",
    [Discrete(3, 5), MultiDiscrete((2,), (3, 3), (0, 1)), MultiBinary((2,))],
)
def test_random_actions_have_equal_shares(space: Any) -> None:
    sampled = actions(space, "random")
    for column in sampled.reshape(len(sampled), -1).T:
        values, counts = np.unique(column, return_counts=True)
        # 4000 draws: the standard error of a share is below 0.008
        np.testing.assert_allclose(counts / 4000, 1 / len(values), atol=0.04)
        assert len(values) == (2 if isinstance(space, MultiBinary) else 3)


def test_random_numbers_are_as_gymnasium_samples_them() -> None:
    inf = np.inf
    low, high = np.float32([-2, 1, -inf, -inf]), np.float32([4, inf, 1, inf])
    box = spaces.Box(low, high)
    box.seed(0)
    theirs = np.stack([box.sample() for _ in range(4000)])
    ours = actions(from_gymnasium(box, "x"), "random")
    # uniform, exponential from either bound, normal; standard errors below 0.03
    np.testing.assert_allclose(ours.mean(0), theirs.mean(0), atol=0.15)
    np.testing.assert_allclose(ours.std(0), theirs.std(0), atol=0.15)
    assert ((ours >= low) & (ours <= high)).all()


def test_zero_is_the_first_action_or_no_force() -> None:
    assert set(actions(Discrete(3, 5), "zero")) == {5}
    box = from_gymnasium(spaces.Box(-1, 1, (2,)), "x")
    assert not actions(box, "zero").any()


@pytest.mark.parametrize("env_id", ["CartPole-v1", "func:CartPole-v1"])
def test_chance_level_of_an_environment_needs_no_run(
    env_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [env_id, "--episodes", "40", "--runs-dir", str(tmp_path), "--json"]
    assert main(["eval", "--agent", "random", *words]) == ExitCode.DONE
    result = json.loads(capsys.readouterr().out)
    assert (result["run"], result["agent"]) == (None, "random")
    # random actions balance the pole for 22 steps (standard deviation 12)
    assert 15 < result["return_mean"] < 30
    assert result["env_changes"] == {}


def test_chance_level_of_a_run_is_that_of_its_environment(runs_dir: Path) -> None:
    result = pgcli.evaluate("a", runs_dir=runs_dir, agent="zero", episodes=4)
    # the time limit of the run is 5
    assert (result["return_mean"], result["deterministic"]) == (5, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--agent luck CartPole-v1", "no agent `luck`"),
        ("--agent random nosuch", "unknown environment `nosuch`"),
        ("--agent random a --best", "takes no --best"),
        ("--agent random", "RUN|CHECKPOINT|ENV is missing"),
        ("a --set optimizer.lr=1", "`optimizer.lr` does not apply"),
    ],
)
def test_what_no_evaluation_can_do_is_a_usage_error(
    runs_dir: Path, words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*words.split(), "--runs-dir", str(runs_dir)]
    assert main(["eval", *given]) == ExitCode.USAGE
    assert message in capsys.readouterr().err


def test_changed_physics_are_part_of_the_result(
    runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--env-kwargs", '{"sutton_barto_reward": true}']
    words += ["--set", "env.max_episode_steps=3", "--episodes", "4"]
    assert main(["eval", "a", *words, "--runs-dir", str(runs_dir)]) == 0
    shown = capsys.readouterr().out
    assert "env.kwargs {sutton_barto_reward: true}, trained with {}" in shown
    assert "env.max_episode_steps 3, trained with 5" in shown
    result = pgcli.evaluate(
        "a", runs_dir=runs_dir, episodes=4, env_kwargs={"sutton_barto_reward": True}
    )
    assert result["return_mean"] == 0
    assert [*result["env_changes"]] == ["env.kwargs"]
    # a run on its own environment has none
    assert pgcli.evaluate("a", runs_dir=runs_dir, episodes=4)["env_changes"] == {}


def test_spaces_that_no_longer_fit_are_named(runs_dir: Path) -> None:
    sets = ["env.wrappers=[TimeAwareObservation]"]
    with pytest.raises(CheckpointError, match=r"are float32\[5\], the agent was"):
        pgcli.evaluate("a", runs_dir=runs_dir, episodes=4, env_sets=sets)
    with pytest.raises(UsageError, match="unexpected keyword argument 'gravty'"):
        pgcli.evaluate("a", runs_dir=runs_dir, env_kwargs=["gravty=5"])


def test_values_are_validated_together_with_the_trained_ones() -> None:
    env = EnvConfig("CartPole-v1", kwargs={"a": 1, "b": 2})
    changed = with_values(env, ["env.kwargs.b=3"], ["c=4"])
    assert changed.kwargs == {"a": 1, "b": 3, "c": 4}
    with pytest.raises(ConfigError) as caught:
        with_values(env, ["env.max_episode_steps=0", "env.num_envs=3"], ["c"])
    assert len(caught.value.issues) == 2
