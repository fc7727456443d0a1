"""`pgcli eval --render human`: one environment in a window."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium import spaces

from pgcli.cli.main import main
from pgcli.errors import ExitCode


class OnScreen(gymnasium.Env[Any, Any]):
    """Notes how it was made; episodes of three steps."""

    metadata = {"render_modes": ["human", "rgb_array"]}  # noqa: RUF012 - as Gymnasium's
    observation_space = action_space = spaces.Discrete(2)
    made: list[Any] = []  # noqa: RUF012 - shared by all

    def __init__(self, render_mode: str | None = None) -> None:
        self.made.append(render_mode)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self._step = 0
        return 0, {}

    def step(self, action: Any) -> Any:
        self._step += 1
        return 0, 1.0, self._step == 3, False, {}


class Blind(OnScreen):
    """It has no pictures."""

    metadata = {"render_modes": []}  # noqa: RUF012 - as Gymnasium's


@pytest.fixture(autouse=True)
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    OnScreen.made.clear()
    for cls in (OnScreen, Blind):
        gymnasium.register(f"{cls.__name__}-v0", cls, max_episode_steps=9)
    yield
    for cls in (OnScreen, Blind):
        gymnasium.registry.pop(f"{cls.__name__}-v0")


def shown(env_id: str, *words: str) -> int:
    return main(["eval", "--agent", "random", env_id, "--render", "human", *words])


def test_one_environment_is_shown_and_plays_all_episodes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert shown("OnScreen-v0", "--json") == ExitCode.DONE
    assert OnScreen.made.count("human") == 1
    result = json.loads(capsys.readouterr().out)
    assert (result["episodes"], result["return_mean"]) == (3, 3)
    assert result["env_changes"] == {}


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("Blind-v0", "`Blind-v0` cannot be shown: it does not render"),
        ("brax:ant", "`brax:ant` cannot be shown: its back end has no windows"),
        # MuJoCo would abort the process
        ("HalfCheetah-v5", "a window needs a display, and there is none"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    env_id: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(env_id) == ExitCode.USAGE
    assert message in capsys.readouterr().err


def test_a_window_needs_a_display(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SDL_VIDEODRIVER")
    assert shown("OnScreen-v0") == ExitCode.USAGE
    assert "`pgcli video` writes a file" in capsys.readouterr().err
    assert OnScreen.made == []


def test_another_render_mode_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["eval", "--agent", "random", "OnScreen-v0", "--render", "rgb_array"]
    assert main(words) == ExitCode.USAGE
    assert "expected human" in capsys.readouterr().err


def test_a_functional_environment_is_shown_by_its_twin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pygame")
    words = ["--episodes", "1", "--runs-dir", str(tmp_path), "--json"]
    assert shown("func:CartPole-v1", *words) == ExitCode.DONE
    result = json.loads(capsys.readouterr().out)
    assert result["env"] == "CartPole-v1"
    assert [*result["env_changes"]] == ["env.id"]
