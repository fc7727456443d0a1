"""A value in an evaluation that is not finite is an error, not a score."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.small_runs import config, resolved

import pgcli
from pgcli.cli.main import main
from pgcli.config.schema import NetworkConfig
from pgcli.envs import user_modules
from pgcli.envs.base import Box, DeviceEnv, EnvSpec, Step
from pgcli.envs.make import make_device_env
from pgcli.errors import DivergedError, EnvironmentFailed, ExitCode
from pgcli.nn.policy import Agent, make_policy
from pgcli.storage import checkpoint
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.evaluation.device import checked, evaluate_on_device
from pgcli.training.evaluation.load_policy import load_policy
from pgcli.training.loops.device_loop import DeviceLoop
from pgcli.training.loops.host_loop import HostLoop
from pgcli.training.members.device_members import DeviceMembers
from pgcli.training.members.host_members import HostMembers

CASES = ("cases.eval_inf", "cases.nan_eval")
SETS = ("normalize.obs=false", "normalize.reward=false", "env.max_episode_steps=50")
OF_EVALUATION = r"the {} of environment 0 is not finite at step \d+ of the evaluation"


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_modules, "NAMED", [])
    user_modules.use(CASES)
    user_modules.named()


@pytest.mark.parametrize(
    ("env_id", "field"),
    [
        ("Smooth-v0", "reward"),
        ("Jump-v0", "reward"),
        ("Mixed-v0", "reward"),
        ("Ratio-v0", "observation"),
        ("func:NanEval", "reward"),
        ("func:NanObs", "observation"),
    ],
)
def test_evaluation_names_a_value_that_is_not_finite(env_id: str, field: str) -> None:
    cfg = config(env_id, *SETS)
    loop: Any = (
        DeviceLoop(cfg, make_device_env(cfg.env))
        if cfg.env.on_device
        else HostLoop(cfg)
    )
    with pytest.raises(EnvironmentFailed, match=OF_EVALUATION.format(field)) as caught:
        loop.evaluate(6, "selection", 3)
    assert re.fullmatch(rf"environment {env_id}, seed \d+", str(caught.value.where))
    assert caught.value.help is not None
    loop.close()


@pytest.mark.parametrize("env_id", ["Smooth-v0", "func:NanEval"])
def test_members_name_a_value_that_is_not_finite_in_evaluation(env_id: str) -> None:
    cfg = config(env_id, *SETS, "seeds=2")
    loop: Any = (
        DeviceMembers(cfg, make_device_env(cfg.env))
        if cfg.env.on_device
        else HostMembers(cfg)
    )
    with pytest.raises(EnvironmentFailed, match=OF_EVALUATION.format("reward")):
        loop.evaluate(6, "selection", 0)
    loop.close()


@pytest.mark.parametrize("env_id", ["Smooth-v0", "func:NanEval"])
def test_a_run_that_fails_in_evaluation_keeps_its_policy(
    env_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = resolved(env_id, *SETS, "steps=64", "eval.every=32")
    with pytest.raises(EnvironmentFailed):
        pgcli.train(given, runs_dir=tmp_path, name="run")
    # the checkpoint of 32 steps stays; its evaluation is no score
    run = RunDirectory(tmp_path / "run")
    newest = checkpoint.committed(run.checkpoints)[-1]
    assert checkpoint.load(newest).meta["steps"] == 32
    assert run.best() is None
    assert not run.eval_jsonl.exists() or not run.eval_jsonl.read_text()
    # `pgcli eval` fails in the same way
    words = ["--runs-dir", str(tmp_path), "--episodes", "2", "--json"]
    modules = [word for case in CASES for word in ("--env-module", case)]
    assert main(["eval", "run", *words, *modules]) == ExitCode.ENVIRONMENT
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert "of the evaluation" in answer["error"]["message"]


def test_a_first_observation_that_is_not_finite_is_named() -> None:
    box = Box((1,), "float32", -1.0, 1.0)

    def reset(key: jax.Array) -> tuple[Any, jax.Array]:
        return (), jnp.full(1, jnp.nan)

    def step(key: jax.Array, state: Any, action: jax.Array) -> tuple[Any, Step]:
        return state, Step(
            jnp.zeros(1), jnp.float32(1), jnp.array(True), jnp.array(True)
        )

    env = DeviceEnv(EnvSpec("none", box, box, 5), reset, step)
    policy = make_policy(env.spec, NetworkConfig(hidden=(4,)))
    agent = Agent(policy.init(jax.random.key(0)), None)
    played = jax.jit(partial(evaluate_on_device, env, policy, 2, True))(
        agent, jax.random.key(0)
    )
    with pytest.raises(EnvironmentFailed, match="not finite when it was reset"):
        checked(played, env.spec, 0)


def test_an_action_that_is_not_finite_is_divergence() -> None:
    for env_id in ("Pendulum-v1", "func:Pendulum-v1"):
        cfg = config(env_id)
        loop: Any = (
            DeviceLoop(cfg, make_device_env(cfg.env))
            if cfg.env.on_device
            else HostLoop(cfg)
        )
        agent = loop.agent()
        params = jax.tree.map(lambda x: np.full_like(x, 3e38), agent.params)
        loop.agent = partial(agent.replace, params=params)
        with pytest.raises(DivergedError, match=r"the action .* of the evaluation"):
            loop.evaluate(4, "selection", 0)
        loop.close()


def test_an_observation_after_a_termination_may_be_anything() -> None:
    """Nothing depends on it, in training or in evaluation."""
    box = Box((1,), "float32", -1.0, 1.0)

    def reset(key: jax.Array) -> tuple[Any, jax.Array]:
        return (), jnp.zeros(1)

    def step(key: jax.Array, state: Any, action: jax.Array) -> tuple[Any, Step]:
        return state, Step(
            jnp.full(1, jnp.nan), jnp.float32(1), jnp.array(True), jnp.array(False)
        )

    env = DeviceEnv(EnvSpec("ends", box, box, 5), reset, step)
    policy = make_policy(env.spec, NetworkConfig(hidden=(4,)))
    agent = Agent(policy.init(jax.random.key(0)), None)
    play = jax.jit(partial(evaluate_on_device, env, policy, 2, True))
    assert checked(play(agent, jax.random.key(0)), env.spec, 0).returns.tolist() == [
        1,
        1,
    ]


def test_load_policy_refuses_an_observation_that_is_not_finite(tmp_path: Path) -> None:
    pgcli.train(resolved("CartPole-v1", "steps=32"), runs_dir=tmp_path, name="run")
    policy = load_policy(tmp_path / "run")
    with pytest.raises(ValueError, match="the observation is not finite"):
        policy(np.array([1.0, np.nan, 0.0, 0.0]))
