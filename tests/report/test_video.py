"""Videos: frames of the right episodes, in grids, and what cannot be recorded."""

import contextlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from PIL import Image
from support.small_runs import resolved

from pgcli.cli.main import main
from pgcli.config.schema import EnvConfig
from pgcli.envs.device.pictures import grid_picture
from pgcli.errors import EnvironmentFailed, UsageError
from pgcli.report.video import CAPTION, record, rendering
from pgcli.training.run import train

SIZE = 64


class Shown(gymnasium.Env[np.ndarray, Any]):
    """Episodes of 5 to 7 steps, by seed; the brightness is the step."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Dict(
        go=gymnasium.spaces.Discrete(2), aim=gymnasium.spaces.Box(-1, 1, ())
    )

    def __init__(self, render_mode: str | None = None, fail: bool = False) -> None:
        self.render_mode, self._fail = render_mode, fail

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._left, self._step = int(self.np_random.integers(5, 8)), 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        self._step += 1
        ended = self._step == self._left
        return np.zeros(2, np.float32), 1.0, ended, False, {}

    def render(self) -> np.ndarray:
        if self._fail:
            raise RuntimeError("no driver")
        return np.full((SIZE, SIZE + 1, 3), 20 * self._step, np.uint8)


gymnasium.register("Shown-v0", Shown)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    asked = resolved("Shown-v0", "steps=32", "eval.every=0", "env.max_episode_steps=50")
    runs_dir = tmp_path_factory.mktemp("runs")
    return Path(train(asked, runs_dir=runs_dir, name="shown")["path"])


def frames_of(path: Path) -> list[np.ndarray]:
    with Image.open(path) as picture:
        frames = []
        for index in range(getattr(picture, "n_frames", 1)):
            picture.seek(index)
            frames.append(np.asarray(picture.convert("RGB")))
    return frames


def test_episodes_follow_each_other_with_a_caption(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.gif"
    result = record(str(run), out=out, episodes=2)
    lengths = [one["length"] for one in result["episodes"]]
    assert [one["return"] for one in result["episodes"]] == lengths
    frames = frames_of(out)
    # the first observation of an episode is a frame too
    assert result["frames"] == len(frames) == sum(lengths) + 2
    assert frames[0].shape == (SIZE + CAPTION, SIZE + 2, 3)  # even sides
    brightness = [int(frame[5, 5, 0]) for frame in frames]
    steps = [step for length in lengths for step in range(length + 1)]
    assert brightness == pytest.approx([20 * step for step in steps], abs=3)
    assert (frames[0][SIZE:] != frames[1][SIZE:]).any()
    again = record(str(run), out=out, episodes=2)
    assert again["episodes"] == result["episodes"]


def test_cells_of_a_grid_end_one_by_one(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.gif"
    result = record(str(run), out=out, grid=(2, 3))
    lengths = [one["length"] for one in result["episodes"]]
    assert len(set(lengths)) > 1
    frames = frames_of(out)
    assert len(frames) == max(lengths) + 1
    height, width = SIZE + CAPTION, SIZE + 1
    last = [
        int(frames[-1][row * height + 5, column * width + 5, 0])
        for row in range(2)
        for column in range(3)
    ]
    assert last == pytest.approx([20 * length for length in lengths], abs=3)


@pytest.mark.skipif(
    importlib.util.find_spec("imageio_ffmpeg") is None, reason="needs the extra `video`"
)
def test_mp4_is_written(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.mp4"
    assert record(str(run), out=out)["bytes"] > 500
    assert out.read_bytes()[4:8] == b"ftyp"
    assert list(tmp_path.iterdir()) == [out]


def test_command_and_its_mistakes(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["video", str(run), "-o", str(tmp_path / "a.gif")]
    assert main([*words, "--grid", "1x2", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["episodes"]) == 2
    for bad, message in (
        (["--grid", "2"], "expected ROWSxCOLUMNS"),
        (["-o", str(tmp_path / "a.avi")], "ends in .mp4 or .gif"),
        (["-o", str(tmp_path / "no" / "a.gif")], "there is no directory"),
        (["--member", "1"], "there are no members"),
    ):
        assert main([*words, *bad]) == 2
        assert message in capsys.readouterr().err


def test_environment_that_cannot_render_is_named(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.gif"
    asked = resolved("Shown-v0", "steps=32", "eval.every=0", "env.kwargs={fail: true}")
    broken = train(asked, runs_dir=tmp_path, name="broken")["path"]
    with pytest.raises(EnvironmentFailed, match="could not be rendered: no driver"):
        record(broken, out=out)
    assert not list(tmp_path.glob("*.gif"))
    pytest.importorskip("gymnax")
    with pytest.raises(UsageError, match="it has no pictures"):
        rendering(EnvConfig("gymnax:MemoryChain-bsuite"), contextlib.ExitStack())


def test_device_environment_is_drawn_by_its_own_functions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("gymnax")
    with contextlib.ExitStack() as stack:
        env = rendering(EnvConfig("gymnax:Catch-bsuite"), stack)
        obs, _ = env.reset(seed=0)
        frame = env.render()
        assert frame.shape == (320, 160, 3)  # 10 × 5 cells of 32 pixels
        assert (frame[::32, ::32].any(axis=-1) == (obs > 0)).all()


def test_each_channel_of_a_grid_has_a_colour() -> None:
    grid = np.zeros((4, 8, 3))
    for channel in range(3):
        grid[channel, channel, channel] = 1
    picture = grid_picture(grid)
    assert picture.shape == (160, 320, 3)
    seen = {tuple(picture[40 * i + 5, 40 * i + 5]) for i in range(4)}
    assert len(seen) == 4  # the last cell is black
    assert (0, 0, 0) in seen
