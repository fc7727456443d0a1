"""`make_env`: the environment of a run, in a program of the user's own."""

import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from support.small_runs import resolved
from support.toys import FLAT

import pgcli
from pgcli.config.schema import EnvConfig
from pgcli.envs import user_modules
from pgcli.envs.base import MultiBinary, MultiDiscrete
from pgcli.envs.spaces import from_gymnasium, to_gymnasium
from pgcli.errors import UsageError
from pgcli.training.evaluation.make_env import gymnasium_env

WRAPPERS = "env.wrappers=[{cases.wrappers:Scaled: {factor: 3}}]"


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    user_modules.use(["cases.wrappers"])
    path = tmp_path_factory.mktemp("work") / "runs"
    brief = ("steps=32", "eval.every=0", "eval.final_episodes=0")
    pgcli.train(resolved("CartPole-v1", WRAPPERS, *brief), runs_dir=path, name="first")
    yield path
    user_modules.NAMED.remove("cases.wrappers")


def test_environment_and_policy_of_a_run_give_the_returns_of_evaluate(
    runs_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # the example of the page, on a run of this name
    page = Path(__file__).parents[3] / "docs" / "python.md"
    _, example, *_ = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    monkeypatch.chdir(runs_dir.parent)
    (runs_dir / "example.py").write_text(example, encoding="utf-8")
    values = runpy.run_path(str(runs_dir / "example.py"))
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert len(shown) == 10
    for ours, theirs in shown:
        assert ours == theirs
    assert values["env"].spec.max_episode_steps == 5


@pytest.mark.filterwarnings("ignore:.*A Box observation space m.*is -?infinity")
def test_environment_on_the_device_is_one_of_gymnasium() -> None:
    env = gymnasium_env(EnvConfig("func:CartPole-v1", max_episode_steps=5))
    check_env(env, skip_render_check=True)
    first, _ = env.reset(seed=3)
    again, _ = env.reset()
    assert (first != again).any()
    # the time limit of the configuration
    *_, (_, reward, terminated, truncated, _) = (env.step(n % 2) for n in range(5))
    assert (reward, terminated, truncated) == (1.0, False, True)


def test_modules_of_a_run_are_named_again(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_modules, "NAMED", [])
    with pytest.raises(UsageError, match="trained with --env-module"):
        pgcli.make_env("first", runs_dir=runs_dir)


@pytest.mark.parametrize(
    ("env_id", "mode", "message"),
    [
        ("envpool:Ant-v4", None, "exists in vectors only"),
        ("func:CartPole-v1", "human", "it has pictures only"),
    ],
)
def test_environment_that_cannot_be_made_is_refused(
    env_id: str, mode: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        gymnasium_env(EnvConfig(env_id), mode)


def test_render_mode_reaches_the_environment() -> None:
    pytest.importorskip("pygame")
    env = gymnasium_env(EnvConfig("CartPole-v1"), "rgb_array")
    env.reset(seed=0)
    assert env.render().shape == (400, 600, 3)
    env.close()


@pytest.mark.parametrize(
    "space",
    [
        FLAT,
        MultiBinary((2, 2)),
        MultiDiscrete((2,), (2, 3), (0, 5)),
        from_gymnasium(spaces.Box(0, 255, (4, 4), np.uint8), "x"),
        from_gymnasium(spaces.Box(np.array([-1, 0]), np.array([1, 2])), "x"),
        from_gymnasium(spaces.Discrete(3, start=2), "x"),
        from_gymnasium(spaces.Dict({"a": spaces.Discrete(3)}), "x"),
    ],
)
def test_spaces_survive_the_way_to_gymnasium_and_back(space: Any) -> None:
    assert from_gymnasium(to_gymnasium(space), "x") == space
