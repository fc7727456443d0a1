"""A run on a user's own environment, from training to evaluation."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from pgcli.config.load import resolve
from pgcli.config.schema import EnvConfig
from pgcli.envs import user_modules
from pgcli.envs.make import make_device_env
from pgcli.errors import UsageError
from pgcli.storage import checkpoint
from pgcli.storage.run_directory import RunDirectory
from pgcli.training import run as training
from pgcli.training.evaluation.evaluate import evaluate
from pgcli.training.evaluation.load_policy import load_policy
from pgcli.training.evaluation.make_env import make_env

SOURCE = Path(__file__).parents[1] / "support" / "user_module.py"
REGISTERING = '\ngymnasium.register("Rooms-v0", Rooms, max_episode_steps=4)\n'
SETS = (
    "env.num_envs=2",
    "host.workers=1",  # the worker must import the module
    "env.wrappers=[{FilterObservation: {filter_keys: [0, 2]}}]",
    "rollout.num_steps=8",
    "algo.num_epochs=1",
    "algo.num_minibatches=1",
    "network.hidden=[4]",
    "eval.every=0",
    "eval.final_episodes=2",
    "steps=16",
)


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Name of a module in the current directory, as for `--env-module`."""
    text = SOURCE.read_text(encoding="utf-8") + REGISTERING
    (tmp_path / "my_rooms.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(user_modules, "NAMED", [])
    user_modules.use(["my_rooms"])
    yield "my_rooms"
    gymnasium.registry.pop("Rooms-v0", None)
    sys.modules.pop("my_rooms", None)


def test_a_run_on_a_users_environment_needs_its_module_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = {"env.id": ("my_rooms:Rooms-v0", "--env")}
    first = training.train(
        resolve(file=None, flags=flags, sets=SETS, use_preset=False), name="a"
    )
    assert first["steps"]["used"] == 16
    assert RunDirectory(Path("runs/a")).read_meta()["env_modules"] == [name]

    # a checkpoint without its run, and one from before modules were recorded
    path = Path(first["checkpoint"])
    alone = shutil.copytree(path, f"alone/{path.name}")
    stored = checkpoint.load(path)
    assert stored.meta.pop("env_modules") == [name]
    older = checkpoint.save(path.parent, "older", stored.groups, stored.meta)

    monkeypatch.setattr(user_modules, "NAMED", [])
    for go_on in (
        lambda: training.resume("a", steps=32),
        lambda: evaluate("a"),
        lambda: evaluate(str(alone)),
        lambda: evaluate(str(older)),
    ):
        with pytest.raises(UsageError, match="--env-module my_rooms"):
            go_on()

    user_modules.use([name])
    assert training.resume("a", steps=32)["steps"]["used"] == 32
    played = evaluate("a", episodes=2)
    assert played["length_mean"] == 4  # the registered time limit

    # a policy takes the observation of the wrapped environment, a tuple
    # and returns the action of the environment, with its own Dict and Tuple
    policy, env = load_policy("runs/a"), make_env("a")
    assert env.action_space.contains(policy((2, np.int8([0, 1]))))
    with pytest.raises(ValueError, match="has the keys 0; its space has 0, 1"):
        load_policy("runs/a")({"0": 2})
    batch: Any = (np.arange(3), np.zeros((3, 2), np.int8))
    several = policy(batch)
    assert several["door"].shape == (3, 2)
    assert [part.shape for part in several["hand"]] == [(3,), (3,)]
    assert evaluate("a", episodes=2, agent="random")["length_mean"] == 4


def test_task_of_the_page_on_networks_hides_velocities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[2] / "docs" / "networks.md"
    text = page.read_text(encoding="utf-8")
    code = text.split("```python\n# positions.py\n")[1].split("```")[0]
    (tmp_path / "positions.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(user_modules, "NAMED", [])
    user_modules.use(["positions"])
    env = make_device_env(EnvConfig("func:Positions"))
    assert env.spec.obs.shape == (2,)
    assert env.spec.max_episode_steps == 500
