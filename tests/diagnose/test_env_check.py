"""`envs check` names each fault, and reports nothing without one."""

import itertools
import time
from collections.abc import Iterator
from typing import Any

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from cases.capture import register as register_cases
from gymnasium import spaces
from support.small_runs import config as small
from support.user_module import Limited

from pgcli.config.schema import EnvConfig
from pgcli.diagnose.action_bounds import action_bounds
from pgcli.diagnose.device_env_check import check_device, measure_device
from pgcli.diagnose.env_check import check_env
from pgcli.diagnose.host_env_check import Speed, check_host, measure_host
from pgcli.diagnose.time_limit import time_limit
from pgcli.envs.base import Box, Discrete, EnvSpec
from pgcli.envs.device.func_env import from_func_env
from pgcli.envs.host.env_factory import env_factory
from pgcli.envs.make import make_device_env
from pgcli.errors import EnvironmentFailed

register_cases()

LIMIT = 30


class Checked(gymnasium.Env[Any, Any]):
    """An environment with at most one fault."""

    def __init__(self, fault: str = "") -> None:
        self._fault = fault
        self.observation_space = spaces.Box(-2, 2, (2,), np.float32)
        self.action_space = spaces.Box(-1, 1, (1,), np.float32)
        self._kept = np.zeros(2, np.float32)
        self._episode = 0
        self._rng = np.random.default_rng()
        self._calls = itertools.count() if fault == "counting" else None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if self._calls and seed is not None:
            self._calls = itertools.count()
        self._episode += 1
        self._step = 0
        if self._fault == "cut" and self._episode > 1 and seed is None:
            raise ValueError("the engine is still running")
        return self._obs(), {}

    def _obs(self) -> Any:
        rng = self._rng if self._fault == "unseeded" else self.np_random
        obs = np.float32(rng.uniform(-1, 1, 2))
        if self._fault == "used":  # what an earlier episode left
            obs[0] = self._episode % 3 / 3
        if self._calls:  # counts across resets, outside of any state
            obs[0] = next(self._calls) % 7 / 7
        if self._fault == "constant":
            obs[:] = 0
        if self._fault == "alias":
            self._kept[:] = obs
            return self._kept
        return obs

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        self._step += 1
        obs: Any = self._obs()
        reward: Any = 1.0 if self._fault else float(action[0])
        terminated: Any = False
        if self._step == 5:
            match self._fault:
                case "outside":
                    obs[1] = 3.5
                case "nan":
                    obs[1] = np.nan
                case "shape":
                    obs = np.append(obs, np.float32(0))
                case "dtype":
                    obs = np.array([0j, 0j])
                case "reward":
                    reward = np.ones(3)
                case "infinite":
                    reward = np.inf
                case "flag":
                    terminated = np.array([False])
                case "hang":
                    time.sleep(60)
                case "raise":
                    raise KeyError("wheel")
        return obs, reward, terminated, False, {}


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    gymnasium.register("Checked-v0", Checked, max_episode_steps=LIMIT)
    gymnasium.register("Limitless-v0", Checked)
    yield
    for id in ("Checked-v0", "Limitless-v0"):
        del gymnasium.registry[id]


def found(env_id: str = "Checked-v0", **config: Any) -> dict[str, str]:
    """Level of each problem, by its message and help."""
    return {
        f"{finding.message} | {finding.help}": finding.level
        for finding in check_host(env_factory(EnvConfig(env_id, **config)))
        if finding.level != "ok"
    }


def test_check_finds_nothing_where_all_is_well() -> None:
    assert found() == {}


@pytest.mark.parametrize(
    ("fault", "level", "words"),
    [
        ("outside", "warning", ["3.5 is not in [-2, 2]", "3.5 % of the steps", "clip"]),
        ("nan", "error", ["step 5", "not finite"]),
        ("shape", "error", ["step 5", "shape (3,), not (2,)"]),
        ("dtype", "error", ["step 5", "complex128", "float32"]),
        ("reward", "error", ["reward at step 5 has the shape (3,)", "with weights"]),
        ("infinite", "error", ["reward at step 5", "not finite"]),
        ("flag", "error", ["`terminated` at step 5", "bool(terminated)"]),
        ("raise", "error", ["KeyError: 'wheel'", "test_env_check.py", "in step"]),
        ("unseeded", "error", ["seed 1", "two environments", "self.np_random"]),
        ("used", "error", ["seed 1", "after earlier episodes"]),
        ("cut", "error", ["ValueError: the engine is still running", "in reset"]),
        ("alias", "warning", ["overwrites the observation", "copy"]),
        ("constant", "warning", ["seeds 1 and 2 give the same"]),
    ],
)
def test_check_names_a_fault_and_its_cure(
    fault: str, level: str, words: list[str]
) -> None:
    texts = found(kwargs={"fault": fault})
    hits = [text for text in texts if all(word in text for word in words)]
    assert hits, texts
    assert texts[hits[0]] == level


@pytest.mark.parametrize(
    ("env_id", "part", "distribution", "words"),
    [
        ("CartPole-v1", False, "gaussian", "-100 to 100, but | RescaleAction"),
        ("func:CartPole-v1", False, "gaussian", "-100 to 100, but | squashed"),
        ("CartPole-v1", True, "gaussian", "`go` range from -100 | squashed"),
        ("CartPole-v1", True, "squashed_gaussian", ""),
    ],
)
def test_actions_far_from_a_standard_normal_are_named(
    env_id: str, part: bool, distribution: str, words: str
) -> None:
    box = Box((1,), "float32", -100.0, 100.0)
    action = {"go": box, "gear": Discrete(2)} if part else box
    asked = small(env_id, f"network.distribution={distribution}")
    found = list(action_bounds(EnvSpec("toy", box, action), asked))
    assert len(found) == bool(words)
    for finding in found:
        message, help = words.split(" | ")
        assert message in finding.message
        assert help in str(finding.help)
        assert ("RescaleAction" in str(finding.help)) == (help == "RescaleAction")


def test_check_limits_the_time_of_a_call() -> None:
    with (
        pytest.raises(EnvironmentFailed, match=r"call \d+ of Checked-v0 has not answ"),
        time_limit(0.3, "Checked-v0", lambda error: None),
    ):
        found(kwargs={"fault": "hang"})


def test_check_wants_a_time_limit() -> None:
    [(text, level)] = found("Limitless-v0").items()
    assert level == "warning"
    assert "no time limit" in text
    assert "reward-to-go" in text
    assert found("Limitless-v0", max_episode_steps=9) == {}


def test_check_sees_the_environment_in_its_wrappers() -> None:
    wrappers = ({"RescaleObservation": {"min_obs": -1, "max_obs": 1}},)
    text = next(iter(found(kwargs={"fault": "outside"}, wrappers=wrappers)))
    assert "1.75 is not in [-1, 1]" in text  # 3.5 of 2


@pytest.mark.parametrize(
    ("fault", "level", "words"),
    [
        ("", "ok", "resumes exactly"),
        ("counting", "warning", "its episode ended differently"),
    ],
)
def test_check_reports_whether_a_run_resumes_exactly(
    fault: str, level: str, words: str
) -> None:
    # the copy repeats squashed actions, which are not those of the rollout
    squashed = "network.distribution=squashed_gaussian"
    config = small("Checked-v0", f"env.kwargs={{fault: '{fault}'}}", squashed)
    findings = check_env(config, 0.01)["findings"]
    (found,) = (x for x in findings if "a stopped run" in x["message"])
    assert found["level"] == level
    assert words in found["message"]


@pytest.mark.parametrize("opaque", ["false", "true"])
def test_check_accuses_no_environment_that_makes_its_spaces_again(opaque: str) -> None:
    config = small("cases/Remade-v0", f"env.kwargs={{opaque: {opaque}}}")
    result = check_env(config, 0.01)
    assert result["ok"], result["findings"]
    assert "a stopped run resumes exactly" in str(result["findings"])


def test_measure_finds_that_waiting_takes_time() -> None:
    speed = measure_host(env_factory(EnvConfig("Checked-v0")), 0.05)
    assert 0 < speed.step < 1e4
    assert 0 < speed.reset < 1e5


def test_slow_step_suggests_workers_and_explains_auto(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    speed = Speed(step=25.0, reset=1.0)  # above WORKER_STEP
    monkeypatch.setattr("pgcli.diagnose.env_check.measure_host", lambda *_: speed)
    (text,) = check_env(small("Checked-v0"), 0.01)["suggestions"]
    assert "host.workers" in text
    assert "with the cost of handing it to another process" in text


def device(**changed: Any) -> Any:
    func = Limited()
    for name, value in changed.items():
        setattr(func, name, value)
    return from_func_env("func:changed", func, func.get_default_params(), LIMIT)


def wrong(env: Any) -> list[str]:
    return [
        f"{finding.level}: {finding.message}"
        for finding in check_device(env)
        if finding.level != "ok"
    ]


def test_device_check_finds_nothing_in_what_is_right() -> None:
    assert wrong(make_device_env(EnvConfig("func:Pendulum-v1"))) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (
            {"observation": lambda s, rng, params: jnp.zeros(3)},
            "error: the observation of a reset has shape [3], not [1]",
        ),
        (
            {"reward": lambda s, a, n, rng, params: n},
            "error: `reward` is float32[1], not one float32",
        ),
        (
            {"transition": lambda s, a, rng, params: (s, s)},
            "error: the observation of a step has shape [2, 1], not [1]",
        ),
        (
            {
                "transition": lambda s, a, rng, params: jnp.append(s, s),
                "observation": lambda s, rng, params: s[:1],
            },
            "error: the state[0] is float32[2] after a step, float32[1] after a reset",
        ),
        (
            {"reward": lambda s, a, n, rng, params: jnp.log(0 * s[0] - 1)},
            "error: the reward is not finite at step 0 of environment 0",
        ),
        (
            {"observation_space": spaces.Box(-0.01, 0.01, (1,))},
            "warning: observations leave their space",
        ),
        (
            {"initial": lambda rng, params: jnp.ones(1)},
            "warning: 16 keys give the same first observation",
        ),
    ],
)
def test_device_check_names_what_breaks_the_contract(
    changed: dict[str, Any], expected: str
) -> None:
    try:
        texts = wrong(device(**changed))
    except EnvironmentFailed as error:  # already when it is made
        texts = [f"error: {error.message}"]
    assert [text for text in texts if text.startswith(expected)], texts


def test_device_speed_is_per_environment() -> None:
    env = device()
    alone, many = (measure_device(env, n, 0.02) for n in (1, 64))
    # sixty-four at once share a step's fixed cost
    assert many.step < alone.step
