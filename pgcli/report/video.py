"""Videos of an agent in its environment, rendered without a display."""

import contextlib
import dataclasses
import errno
import importlib.util
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from pgcli.config.schema import EnvConfig
from pgcli.envs import user_modules
from pgcli.envs.actions import row
from pgcli.envs.device import functional
from pgcli.errors import EnvironmentFailed, UsageError
from pgcli.extras import pip_install
from pgcli.report.pictures import check_file
from pgcli.runs_dir import RUNS_DIR
from pgcli.training.backend.precision import in_32_bits
from pgcli.training.evaluation.load_policy import LoadedPolicy
from pgcli.training.evaluation.make_env import gymnasium_env
from pgcli.training.evaluation.saved_agents import find_checkpoint, load_agent
from pgcli.training.seeds import env_seeds

EXTRA = "video"
PACKAGES = {".mp4": ("PIL", "imageio_ffmpeg"), ".gif": ("PIL",)}
"""Packages by the end of the file's name."""

CAPTION = 22
"""Height of the caption in pixels."""

GIF_FPS = 25
"""Frames per second of a GIF at most: viewers slow down at more."""


HEADLESS = {"MUJOCO_GL": "egl", "SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}
"""Settings of MuJoCo and pygame where there is no display."""


class Writer(Protocol):
    """A file to which frames [H, W, 3] of bytes are added."""

    def add(self, frame: np.ndarray) -> None:
        """Adds a frame."""

    def close(self) -> None:
        """Ends the file."""


def check_path(path: Path) -> None:
    """Raises a UsageError if no video can be written there, or a package is missing."""
    check_file(path, [*PACKAGES])
    if not all(importlib.util.find_spec(name) for name in PACKAGES[path.suffix]):
        raise UsageError(
            "a video needs packages that are not installed", help=pip_install(EXTRA)
        )


@in_32_bits()
def record(
    target: str,
    *,
    out: Path | None = None,
    best: bool = False,
    member: str | None = None,
    episodes: int = 1,
    grid: tuple[int, int] = (1, 1),
    deterministic: bool = True,
    seed: int = 0,
    runs_dir: Path = RUNS_DIR,
) -> dict[str, Any]:
    """Records episodes one after the other; returns what was written.

    Args:
      target: path or name of a run, or path of a checkpoint.
      out: file to write to; by default the run's name in the current directory.
      best: whether to use a run's best checkpoint instead of its last.
      member: text that identifies one of several members: `SEED[,KEY=VALUE…]`.
      episodes: number of episodes in each cell of the grid.
      grid: rows and columns of episodes that are shown at the same time.
      deterministic: whether to play the most probable action instead of a sample.
      seed: seed of the episodes.
      runs_dir: directory of named runs.

    Raises:
      UsageError: the run does not exist, the environment does not render, or the file
        cannot be written.
      EnvironmentFailed: the environment failed.
    """
    trained = load_agent(find_checkpoint(target, runs_dir, best), member)
    path = out or Path(f"{trained.run}.mp4")
    check_path(path)
    user_modules.require(trained.env_modules, str(trained.path))
    policy = LoadedPolicy(trained, deterministic, seed)

    # environments that render, one per cell of the grid
    count = grid[0] * grid[1]
    seeds = env_seeds(seed, "reporting", count * episodes)
    with contextlib.ExitStack() as stack:
        envs = [rendering(trained.config.env, stack) for _ in range(count)]
        fps = int(envs[0].metadata.get("render_fps") or 30)
        draft = path.with_name(f".{path.stem}.draft{path.suffix}")
        stack.callback(draft.unlink, missing_ok=True)
        played: list[_Episode] = []
        frames = 0
        try:
            writer: Writer = (
                Gif(draft, fps) if path.suffix == ".gif" else Mp4(draft, fps)
            )
            for start in range(0, len(seeds), count):
                cells = [
                    _Episode(env, trained.config.env.id, one)
                    for env, one in zip(envs, seeds[start : start + count], strict=True)
                ]
                played += cells
                policy.reset()
                for frame in _together(cells, policy, grid):
                    writer.add(frame)
                    frames += 1
            writer.close()
            draft.replace(path)
        except OSError as error:
            raise UsageError(f"`-o {path}`: {error.strerror or error}") from error
    return {
        "path": str(path),
        "bytes": path.stat().st_size,
        "frames": frames,
        "fps": fps,
        "run": trained.run,
        "checkpoint": str(trained.path),
        "iteration": trained.iteration,
        "episodes": [
            {"seed": one.seed, "return": one.total, "length": one.length}
            for one in played
        ],
    }


def rendering(config: EnvConfig, stack: contextlib.ExitStack) -> Any:
    """A host environment that renders to arrays, closed with the stack.

    Raises:
      UsageError: it does not render, or runs on the device without a twin on the host.
    """
    # the functional environments have the same states as those of Gymnasium
    name = config.id.partition(":")[2]
    if config.backend == "func" and name in functional.NAMES:
        config = dataclasses.replace(config, id=name)
    if not os.environ.get("DISPLAY"):
        for name, value in HEADLESS.items():
            os.environ.setdefault(name, value)
    env = gymnasium_env(config, "rgb_array")
    stack.callback(env.close)
    return env


class _Episode:
    """One episode in one environment, stepped with the others of its grid."""

    def __init__(self, env: Any, env_id: str, seed: int) -> None:
        self.env, self.seed = env, seed
        self.total, self.length, self.done = 0.0, 0, False
        self.obs, _ = env.reset(seed=seed)
        self._id = env_id

    def step(self, action: Any) -> None:
        if self.done:
            return
        self.obs, reward, terminated, truncated, _ = self.env.step(action)
        self.total += float(reward)
        self.length += 1
        self.done = bool(terminated or truncated)

    def picture(self) -> np.ndarray:
        """What the environment shows [H, W, 3], above a caption."""
        try:
            frame = np.asarray(self.env.render())
        except Exception as error:
            raise EnvironmentFailed(
                f"the environment could not be rendered: {error}",
                where=f"environment {self._id}",
                help="without a display, MuJoCo needs MUJOCO_GL=egl or osmesa, and the "
                "driver's library",
            ) from error
        if frame.ndim != 3 or frame.shape[-1] != 3:
            raise UsageError(
                f"the environment renders {frame.dtype}{list(frame.shape)}; "
                "expected pictures [H, W, 3]"
            )
        from PIL import Image, ImageDraw, ImageFont

        strip = Image.new("RGB", (frame.shape[1], CAPTION), "white")
        ImageDraw.Draw(strip).text(
            (6, 3),
            f"step {self.length}   return {self.total:,.1f}",
            fill="black",
            font=ImageFont.load_default(13),
        )
        return np.concatenate([frame.astype(np.uint8), np.asarray(strip)])


def _together(
    cells: Sequence[_Episode], policy: LoadedPolicy, grid: tuple[int, int]
) -> Iterator[np.ndarray]:
    """Frames of the grid until the last episode has ended; ended ones stand still."""
    while True:
        pictures = np.stack([cell.picture() for cell in cells])
        rows, columns = grid
        lines = pictures.reshape(rows, columns, *pictures.shape[1:])
        frame = np.concatenate(
            [np.concatenate(list(line), axis=1) for line in lines], axis=0
        )
        # video formats need even sides
        yield np.pad(frame, [(0, n % 2) for n in frame.shape[:2]] + [(0, 0)], "edge")
        if all(cell.done for cell in cells):
            return
        obs = jax.tree.map(lambda *each: np.stack(each), *(cell.obs for cell in cells))
        actions = policy(obs)
        for n, cell in enumerate(cells):
            cell.step(row(actions, n))


class Mp4:
    """H.264, which browsers and slides show; encoded by the ffmpeg of a wheel."""

    def __init__(self, path: Path, fps: int) -> None:
        """Starts nothing before the first frame, which gives the size."""
        self._path, self._fps = path, fps
        self._encoder: subprocess.Popen[bytes] | None = None

    def add(self, frame: np.ndarray) -> None:
        """Adds a frame."""
        if self._encoder is None:
            self._encoder = self._start(*frame.shape[:2])
        if self._encoder.stdin is not None:
            self._encoder.stdin.write(np.ascontiguousarray(frame).data)

    def close(self) -> None:
        """Ends the file."""
        if self._encoder is not None:
            self._encoder.communicate()
            if self._encoder.returncode:
                raise OSError(errno.EIO, "ffmpeg failed")

    def _start(self, height: int, width: int) -> "subprocess.Popen[bytes]":
        from imageio_ffmpeg import get_ffmpeg_exe

        given = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {self._fps} -i -"
        wanted = "-c:v libx264 -pix_fmt yuv420p -movflags +faststart"
        command = f"-y -loglevel error {given} -an {wanted}".split()
        return subprocess.Popen(
            [get_ffmpeg_exe(), *command, str(self._path)], stdin=subprocess.PIPE
        )


class Gif:
    """An animated GIF, which a README shows; at most 25 frames per second."""

    def __init__(self, path: Path, fps: int) -> None:
        """Frames are kept in memory, with 256 colours each."""
        self._path, self._every = path, -(-fps // GIF_FPS)
        self._milliseconds = 1000 * self._every / fps
        self._count, self._frames = 0, []  # type: tuple[int, list[Any]]

    def add(self, frame: np.ndarray) -> None:
        """Adds a frame, or skips it."""
        from PIL import Image

        if self._count % self._every == 0:
            self._frames.append(Image.fromarray(frame).quantize())
        self._count += 1

    def close(self) -> None:
        """Writes the file."""
        first, *others = self._frames
        first.save(
            self._path,
            save_all=True,
            append_images=others,
            duration=self._milliseconds,
            loop=0,
        )
