"""Training, evaluation and trained policies with action masks.

The environments of `cases.masks` raise at an invalid action, or return −1,000.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from cases.masks import SIZES
from support.agents import NUM_ENVS, agent_of, masked_spec
from support.small_runs import config, resolved, rows
from support.toys import quick_jit

from pgcli.algos import ALGORITHMS
from pgcli.config.load import of_run
from pgcli.config.schema import EnvConfig, HostConfig, NetworkConfig, RunConfig
from pgcli.envs import user_modules
from pgcli.envs.make import make_device_env, make_host_env
from pgcli.errors import EnvironmentFailed
from pgcli.nn.policy import Agent, make_policy
from pgcli.rollout.host_actor import make_actor
from pgcli.rollout.host_collector import HostCollector
from pgcli.training.evaluation.evaluate import evaluate
from pgcli.training.evaluation.load_policy import LoadedPolicy, load_policy
from pgcli.training.evaluation.make_env import make_env
from pgcli.training.evaluation.saved_agents import Trained
from pgcli.training.loops.device_loop import DeviceLoop
from pgcli.training.loops.host_loop import HostLoop
from pgcli.training.run import resume, train

MEMORY = "network.memory=gru"
RECURRENT = [MEMORY, "env.num_envs=8"]
"""As many environments as minibatches, also where those cannot be fewer."""


@pytest.fixture(autouse=True)
def _modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_modules, "NAMED", [])
    user_modules.use(["cases.masks"])


def host_config(actions: str, *sets: str, algo: str = "ppo2") -> RunConfig:
    kwargs = "env.kwargs={source: key, actions: " + actions + "}"
    return config("Masked-v0", kwargs, *sets, algo=algo)


def loop_of(cfg: RunConfig) -> HostLoop | DeviceLoop:
    if cfg.env.on_device:
        return DeviceLoop(cfg, make_device_env(cfg.env))
    return HostLoop(cfg)


def check_learns(cfg: RunConfig, iterations: int = 3) -> None:
    loop = loop_of(cfg)
    for _ in range(iterations):
        (row, *_) = loop.advance(loop.steps + 1, 0.0)
    loop.evaluate(4, "selection", 0)
    loop.close()
    # rewards are 0 or 1 unless an action is invalid
    assert row["return_mean"] is None or 0 <= row["return_mean"] <= 8
    assert all(x is None or np.isfinite(x) for x in row.values())


def test_a_run_on_the_host_takes_valid_actions_only() -> None:
    check_learns(host_config("choices"))


@pytest.mark.slow
@pytest.mark.parametrize("algo", sorted(ALGORITHMS))
@pytest.mark.parametrize(
    ("actions", "sets"),
    [("choice", RECURRENT), ("choices", []), ("bits", []), ("tuple", [])],
)
def test_every_algorithm_takes_valid_actions_on_the_host(
    actions: str, sets: list[str], algo: str
) -> None:
    check_learns(host_config(actions, *sets, algo=algo))


@pytest.mark.slow
@pytest.mark.parametrize("sets", [[], RECURRENT], ids=["feed-forward", "memory"])
@pytest.mark.parametrize("algo", sorted(ALGORITHMS))
def test_every_algorithm_takes_valid_actions_on_the_device(
    algo: str, sets: list[str]
) -> None:
    check_learns(config("func:MaskedFunc", *sets, algo=algo))


@pytest.mark.slow
def test_a_mask_without_valid_actions_ends_a_run_on_the_device() -> None:
    loop = loop_of(config("func:FaultyFunc"))
    with pytest.raises(EnvironmentFailed) as caught:
        loop.advance(1, 0.0)
    assert "has no valid action" in caught.value.message
    assert "at step 2 of the rollout" in caught.value.message


@pytest.mark.slow
@pytest.mark.parametrize("act", ["numpy", "jit"])
@pytest.mark.parametrize("actions", sorted(set(SIZES) - {"box"}))
def test_no_action_of_100_000_is_invalid_with_extreme_weights(
    actions: str, act: str
) -> None:
    env_config = EnvConfig("Masked-v0", kwargs={"actions": actions})
    env = make_host_env(env_config, list(range(50)))
    network = NetworkConfig(hidden=(8,))
    policy = make_policy(env.spec, network)
    params = quick_jit(policy.init)(jax.random.key(0))
    # logits of ±1e12 and so
    head = jax.tree.map(lambda x: x * 1e12, params["policy_head"])
    agent = Agent({**params, "policy_head": head}, None)
    actor = make_actor(HostConfig(act=act), network, env.spec, policy)
    collector = HostCollector(env, policy, 500, actor)
    for i in range(4):
        collector.collect(agent, jax.random.key(i))
    env.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished run of 3 iterations, with a memory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(user_modules, "NAMED", [])
        user_modules.use(["cases.masks"])
        asked = resolved("Masked-v0", "steps=96", MEMORY, "checkpoint.every=32")
        folder = tmp_path_factory.mktemp("runs")
        yield Path(train(asked, runs_dir=folder, name="whole")["path"])


@pytest.mark.slow
def test_a_run_resumes_exactly_with_masks_and_memory(run: Path, tmp_path: Path) -> None:
    asked = resolved("Masked-v0", "steps=64", MEMORY, "checkpoint.every=32")
    path = train(asked, runs_dir=tmp_path, name="part")["path"]
    resume(path, steps=96, require_exact=True)
    assert rows(Path(path) / "metrics.jsonl") == rows(run / "metrics.jsonl")


@pytest.mark.slow
def test_a_trained_policy_acts_in_its_environment_as_evaluated(run: Path) -> None:
    report = evaluate(run, episodes=4)
    policy, env = load_policy(run), make_env(run)
    for episode in report["per_episode"]:
        policy.reset()
        obs, _ = env.reset(seed=episode["seed"])
        total, done = 0.0, False
        while not done:
            obs, reward, *ends, _ = env.step(policy(obs))
            total, done = total + reward, any(ends)
        assert total == episode["return"]


@pytest.mark.slow
def test_a_run_of_an_earlier_version_continues_without_masks(tmp_path: Path) -> None:
    asked = resolved("Masked-v0", "steps=32", "env.action_mask=off")
    # without masks actions would raise; this environment does not look at them
    harmless = {"env.kwargs": {"source": "info", "harmless": True}}
    cfg = asked.config.with_values(harmless)
    path = Path(
        train(
            dataclasses.replace(asked, config=cfg), runs_dir=tmp_path, name="earlier"
        )["path"]
    )
    text = (path / "config.yaml").read_text(encoding="utf-8")
    kept = [line for line in text.splitlines() if "action_mask" not in line]
    (path / "config.yaml").write_text("\n".join(kept) + "\n", encoding="utf-8")
    assert of_run(path / "config.yaml").config.env.action_mask == "off"
    assert resume(path, steps=64, require_exact=True)["steps"]["used"] == 64


def loaded(action: str) -> LoadedPolicy:
    spec, network = masked_spec(action), NetworkConfig(hidden=(4,))
    agent, policy = agent_of(spec, network, True), make_policy(spec, network)
    trained = Trained(
        Path("toy"), "toy", config("CartPole-v1"), spec, policy, agent, 1, ()
    )
    return LoadedPolicy(trained, deterministic=True, seed=0)


def test_policy_takes_masks_in_the_observation_or_apart() -> None:
    policy, obs = loaded("discrete"), np.zeros((NUM_ENVS, 3), np.float32)
    for only in range(5):
        mask = np.arange(5) == only
        assert policy(obs[0], mask) == only
        assert policy({"observation": obs[0], "mask": mask}) == only
        assert (policy(obs, [mask] * NUM_ENVS) == only).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((np.zeros(3),), r"needs the valid actions: policy\(obs, mask\)"),
        ((np.zeros(3), np.zeros(5)), "has no valid action"),
        ((np.zeros(3), np.ones(4)), r"has the shape \(4,\)"),
        ((np.zeros((2, 3)), np.ones(5)), "mask"),
    ],
)
def test_policy_names_what_is_wrong_with_a_mask(arguments: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        loaded("discrete")(*arguments)
