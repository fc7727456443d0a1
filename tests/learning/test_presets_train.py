"""Every YAML that is shipped trains."""

from pathlib import Path

import numpy as np
import pytest

from pgcli.config.load import resolve
from pgcli.config.source import presets
from pgcli.config.source.families import FOLDER
from pgcli.envs.make import make_device_env
from pgcli.envs.registry import DEVICE_BACKENDS
from pgcli.errors import UsageError
from pgcli.training.loops.base import Loop
from pgcli.training.loops.device_loop import DeviceLoop
from pgcli.training.loops.host_loop import HostLoop

# an environment of each family without a preset of its own
MEMBERS = {
    "atari": "ALE/Qbert-v5",
    "box2d": "LunarLanderContinuous-v3",
    "brax": "brax:inverted_double_pendulum",
    "classic": "Acrobot-v1",
    "minatar": "gymnax:SpaceInvaders-MinAtar",
    "minigrid": "MiniGrid-Empty-5x5-v0",
    "mujoco": "Reacher-v5",
    "toy-text": "FrozenLake-v1",
}

# Each compiles for seconds. Both loops, kinds of action and of batch are among these.
BY_DEFAULT = {"ppo2/CartPole-v1"}
STEPS = {"brax": ["env.num_envs=32", "rollout.num_steps=32"]}


def cases() -> list[object]:
    found = []
    for path in presets.available():
        name = f"{path.parent.name}/{path.stem}"
        marks = () if name in BY_DEFAULT else pytest.mark.slow
        found.append(pytest.param(path, id=name, marks=marks))
    return found


@pytest.mark.parametrize("path", cases())
def test_preset_trains_two_iterations(path: Path) -> None:
    flags = {}
    if path.parent.name == FOLDER:
        flags["env.id"] = MEMBERS[path.stem], "--env"
    sets = STEPS.get(path.stem, [])
    config = resolve(file=path, flags=flags, sets=sets).config
    loop: Loop
    if config.env.on_device:
        backend = DEVICE_BACKENDS[config.env.backend]
        if not backend.installed:
            pytest.skip(f"needs the extra {backend.extra}")
        loop = DeviceLoop(config, make_device_env(config.env))
    else:
        try:
            loop = HostLoop(config)
        except UsageError as error:
            if "pip install" not in (error.help or ""):
                raise
            pytest.skip(f"{error.message}: {error.help}")
    try:
        rows = [row for _ in range(2) for row in loop.advance(loop.steps + 1, 1.0)]
    finally:
        loop.close()
    assert [row["iteration"] for row in rows] == [1, 2]
    assert 0 < rows[0]["steps"] < rows[1]["steps"] == loop.steps  # type: ignore[operator]
    for row in rows:
        assert row["skipped"] == 0
        assert row["entropy"] is not None
        assert row["kl"] is not None
        assert np.isfinite(row["kl"])


def test_presets_by_default_exist() -> None:
    names = {f"{path.parent.name}/{path.stem}" for path in presets.available()}
    assert names >= BY_DEFAULT
