"""Errors for environments that do not exist, do not fit, or misbehave."""

import sys
from functools import partial
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from support.scripted_envs import TERMINATED, TRUNCATED, Faulty, Scripted

from pgcli.config.schema import EnvConfig, NetworkConfig
from pgcli.envs.base import HostEnv
from pgcli.envs.host.in_process import InProcess
from pgcli.envs.host.native_vector import NativeVector
from pgcli.envs.make import make_device_env, make_host_env
from pgcli.envs.registry import list_envs
from pgcli.errors import EnvironmentFailed, ExitCode, UsageError
from pgcli.extras import pip_install
from pgcli.nn.policy import Agent, make_policy
from pgcli.rollout.host_collector import HostCollector
from pgcli.rollout.types import Transitions

SEEDS = [21, 22, 23]
ENTRY_POINTS = ("gymnasium.envs.mujoco", "gymnasium.envs.box2d")


def make(env_id: str, vectorizer: Any = None, **config: Any) -> HostEnv:
    return make_host_env(EnvConfig(env_id, **config), [0], vectorizer=vectorizer)


@pytest.mark.parametrize(
    ("env_id", "help"),
    [
        ("CartPol-v1", "`CartPole-v1`"),
        ("Pendulum-v7", "Pendulum"),
        ("HalfCheetah-v5", pip_install("mujoco")),
        ("LunarLander-v3", pip_install("box2d")),
        ("ALE/Pong-v5", pip_install("atari")),
        ("envpool:Pong-v5", pip_install("envpool")),
        ("MiniGrid-Empty-5x5-v0", pip_install("minigrid")),
        ("fnuc:CartPole-v1", "`func:CartPole-v1`"),
        ("zzzzzzzz", "`pgcli envs`"),
    ],
)
def test_make_of_what_is_not_there_says_what_to_do(
    env_id: str, help: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("Box2D", "ale_py", "envpool", "minigrid", "mujoco"):
        monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    # nor imported by an earlier test
    for module in [name for name in sys.modules if name.startswith(ENTRY_POINTS)]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(UsageError) as caught:
        make(env_id)
    assert env_id in caught.value.message
    assert help in (caught.value.help or "")


@pytest.mark.parametrize(
    ("env_id", "help"),
    [
        ("PongNoFrameskip-v4", "ALE/Pong-v5 --env-kwargs repeat_action_probability=0"),
        ("Breakout-ramDeterministic-v0", "ALE/Breakout-v5"),
        ("SpaceInvaders-v4", "ALE/SpaceInvaders-v5 --env-kwargs repeat"),
    ],
)
def test_older_ids_of_atari_are_refused_with_that_of_today(
    env_id: str, help: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as ale_py registers them
    spec = EnvSpec(env_id, entry_point="ale_py.env:AtariEnv")
    monkeypatch.setitem(gymnasium.registry, env_id, spec)
    with pytest.raises(UsageError, match="older id of an Atari game") as caught:
        make(env_id)
    assert help in (caught.value.help or "")
    assert env_id not in [row.id for row in list_envs()]
    # without ale_py, only the words of such ids are known
    monkeypatch.delitem(gymnasium.registry, env_id)
    monkeypatch.setitem(sys.modules, "ale_py", None)
    known = "older id" if "Det" in env_id or "NoF" in env_id else "unknown environment"
    with pytest.raises(UsageError, match=known):
        make(env_id)


def test_make_of_an_unknown_device_environment_says_what_to_do() -> None:
    with pytest.raises(UsageError) as caught:
        make_device_env(EnvConfig("func:CartPol-v1"))
    assert "`func:CartPole-v1`" in (caught.value.help or "")


def test_make_imports_no_module_that_only_an_id_names(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "planted_env.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for vectorizer in ("in_process", "native"):
        with pytest.raises(UsageError, match="module `planted_env` is not named"):
            make("planted_env:CartPole-v1", vectorizer=vectorizer)


def test_make_names_kwargs_that_do_not_fit() -> None:
    with pytest.raises(UsageError, match="wheels"):
        make("CartPole-v1", kwargs={"wheels": 3})
    with pytest.raises(UsageError, match="wheels"):
        make_device_env(EnvConfig("func:CartPole-v1", kwargs={"wheels": 3}))


def test_native_needs_a_vector_entry_point() -> None:
    with pytest.raises(UsageError) as caught:
        make("Pendulum-v1", vectorizer="native")
    assert "in_process" in (caught.value.help or "")


def test_spaces_without_a_policy_are_refused_by_name() -> None:
    text = spaces.Tuple([spaces.Discrete(2), spaces.Dict({"say": spaces.Text(3)})])
    empty = spaces.Tuple([spaces.Dict()])
    for space, named in ((text, r"Text \(action `1/say`\)"), (empty, "Tuple")):
        with pytest.raises(EnvironmentFailed, match=named) as caught:
            InProcess([Scripted(action_space=space)], [0], "Scripted-v0")
        assert "FilterObservation" not in (caught.value.help or "")


def test_parts_without_a_network_are_named() -> None:
    env = Scripted()
    env.observation_space = spaces.Dict(
        {"map": spaces.Discrete(2), "say": spaces.Text(9)}
    )
    with pytest.raises(EnvironmentFailed, match=r"Text \(`say`\)") as caught:
        InProcess([env], [0], "Scripted-v0")
    assert "--set env.obs_keys=[map]" in (caught.value.help or "")


def test_list_names_the_extra_that_an_environment_needs() -> None:
    rows = {row.id: row for row in list_envs()}
    assert rows["HalfCheetah-v5"].extra == "mujoco"
    assert rows["LunarLander-v3"].extra == "box2d"
    assert rows["CartPole-v1"].extra is None
    assert rows["func:Pendulum-v1"].backend == "device"


def faulty(fault: str, at: int, vectorizer: str = "in_process") -> HostEnv:
    """Three environments of which number 1 misbehaves."""
    scripts = {"episodes": ((2, TERMINATED), (3, TRUNCATED))}
    envs = [Faulty(fault, at, index=n, **scripts) for n in range(3)]
    if vectorizer == "in_process":
        return InProcess(list(envs), SEEDS, "Faulty-v0")
    mode = AutoresetMode.NEXT_STEP
    vector = SyncVectorEnv([partial(lambda e: e, e) for e in envs], autoreset_mode=mode)
    return NativeVector(vector, SEEDS, "Faulty-v0", None)


def collect(env: HostEnv, num_steps: int = 8) -> Transitions:
    policy = make_policy(env.spec, NetworkConfig(hidden=(4,)))
    agent = Agent(policy.init(jax.random.key(0)), None)
    return HostCollector(env, policy, num_steps).collect(agent, jax.random.key(0))


@pytest.mark.parametrize(
    ("fault", "at", "message"),
    [
        ("reset", 0, "environment 1 failed at its step 0: ValueError: no more"),
        # after the episodes of 2 and 3 steps: resets 1 and 2
        ("reset", 2, "environment 1 failed at its step 4: ValueError: no more"),
        ("step", 4, "environment 1 failed at its step 4: KeyError: 'wheel'"),
    ],
)
def test_in_process_names_environment_seed_and_step_of_a_failure(
    fault: str, at: int, message: str
) -> None:
    with pytest.raises(EnvironmentFailed) as caught:
        collect(faulty(fault, at))
    assert message in caught.value.message
    assert caught.value.where == "environment Faulty-v0, seed 22"
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


@pytest.mark.parametrize(
    ("fault", "at", "message"),
    [
        ("reset", 0, "failed at reset: ValueError: no more"),
        ("reset", 1, "failed at step 2: ValueError: no more"),
        ("step", 4, "failed at step 5: KeyError: 'wheel'"),  # one row is a reset
    ],
)
def test_native_names_seed_and_step_of_a_failure(
    fault: str, at: int, message: str
) -> None:
    with pytest.raises(EnvironmentFailed) as caught:
        collect(faulty(fault, at, "native"))
    assert message in caught.value.message
    assert caught.value.where == "environment Faulty-v0, seed 21"


@pytest.mark.parametrize(
    ("fault", "at", "message"),
    [
        ("reward", 3, "the reward of environment 1 is not finite at step 3"),
        ("obs", 3, "the observation of environment 1 is not finite at step 3"),
        (
            "final_obs",
            2,
            "the last observation of environment 1 is not finite at step 2",
        ),
    ],
)
def test_collector_names_what_is_not_finite(fault: str, at: int, message: str) -> None:
    with pytest.raises(EnvironmentFailed) as caught:
        collect(faulty(fault, at))
    assert message in caught.value.message
    assert caught.value.where == "environment Faulty-v0, seed 22"
    assert "envs check" in str(caught.value.help)


def test_collector_clips_the_action_for_the_environment_and_stores_it_raw() -> None:
    low, high = np.float32([-0.5, -2.0]), np.float32([0.25, 0.1])
    env = Scripted(((50, TERMINATED),), action_space=spaces.Box(low, high))
    transitions = collect(InProcess([env], [0], "Scripted-v0"), 40)
    raw = transitions.action[:, 0]
    given = np.stack([seen.action for seen in env.record])
    assert ((raw < low) | (raw > high)).any(axis=0).all()  # it mattered, both ways
    np.testing.assert_array_equal(given, np.clip(raw, low, high))
