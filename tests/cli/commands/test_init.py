"""`pgcli init`: a file for one environment."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.envs.registration import EnvSpec

from pgcli.cli.main import main
from pgcli.config.load import resolve
from pgcli.config.schema import RunConfig
from pgcli.diagnose.init_file import affordable, duration
from pgcli.training.configure import configure

Init = Callable[..., dict[str, Any]]


class Failing(CartPoleEnv):
    """CartPole whose steps raise."""

    def step(self, action: Any) -> Any:
        raise RuntimeError("no wheels")


@pytest.fixture
def init(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Init:
    monkeypatch.chdir(tmp_path)
    spec = EnvSpec("Vector-v0", CartPoleEnv, max_episode_steps=9)
    monkeypatch.setitem(gymnasium.registry, "Vector-v0", spec)
    failing = EnvSpec("Failing-v0", Failing, max_episode_steps=9)
    monkeypatch.setitem(gymnasium.registry, "Failing-v0", failing)

    def call(*words: str, code: int = 0) -> dict[str, Any]:
        assert main(["init", *words, "--seconds", "0.01", "--json"]) == code
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    return call


def config_in(path: str) -> RunConfig:
    return resolve(file=Path(path), flags={}, sets=[]).config


@pytest.mark.parametrize(
    ("env_id", "algo", "preset", "spaces"),
    [
        ("CartPole-v1", "ppo2", "ppo2/CartPole-v1", None),
        ("Acrobot-v1", "npg", "families/classic", None),
        ("Vector-v0", "ppo2", None, "vectors"),
        ("Vector-v0", "reinforce", None, "vectors"),
    ],
)
def test_file_is_what_train_would_use(
    init: Init, env_id: str, algo: str, preset: str | None, spaces: str | None
) -> None:
    answer = init(env_id, "--algo", algo)
    assert (answer["preset"], answer["spaces"]) == (preset, spaces)
    assert answer["file"] == f"{env_id.replace('/', '-')}.yaml"
    ours = config_in(answer["file"])
    assert ours == configure(algo=algo, env=env_id).config
    assert ours.steps == answer["steps"]
    text = Path(answer["file"]).read_text(encoding="utf-8")
    assert f"{answer['speed']['steps_per_second']:,} steps/s" in text
    assert f"# train with it  pgcli train -c {answer['file']}\n" in text


def test_arguments_and_a_missing_time_limit_are_in_the_file(init: Init) -> None:
    path = init("FrozenLake-v1", "--env-kwargs", "is_slippery=false")["file"]
    assert config_in(path).env.kwargs == {"is_slippery": False}
    assert config_in(path).env.max_episode_steps is None
    path = init("CliffWalking-v1")["file"]
    assert config_in(path).env.max_episode_steps == 1000


def test_file_is_replaced_only_if_asked(init: Init) -> None:
    path = Path("my.yaml")
    path.write_text("mine", encoding="utf-8")
    error = init("CartPole-v1", "-o", "my.yaml", code=2)["error"]
    assert error["message"] == "my.yaml exists already"
    assert error["help"] == "choose another -o, or --overwrite"
    assert path.read_text(encoding="utf-8") == "mine"
    init("CartPole-v1", "-o", "my.yaml", "--overwrite")
    assert config_in("my.yaml").env.id == "CartPole-v1"


def test_environment_that_is_unknown_or_fails_writes_nothing(
    init: Init, tmp_path: Path
) -> None:
    assert "unknown environment" in init("CartPol-v1", code=2)["error"]["message"]
    error = init("Failing-v0", code=3)["error"]
    assert error["message"].endswith(
        "failed with random actions: RuntimeError: no wheels"
    )
    assert error["help"].startswith("pgcli envs check Failing-v0")
    assert list(tmp_path.iterdir()) == []


def test_budget_takes_an_hour_of_steps_at_most() -> None:
    # 50 steps/s × 3600 s = 180,000; 2 steps/s × 3600 s = 7,200, below the minimum
    assert affordable(1_000_000, 50.0) == 100_000
    assert affordable(1_000_000, 2.0) == 10_000
    assert affordable(1_000_000, 1e5) == 1_000_000


def test_duration_has_one_unit() -> None:
    assert [duration(x) for x in (0.1, 119, 121, 7300)] == [
        "1 s",
        "119 s",
        "2 min",
        "2 h",
    ]
