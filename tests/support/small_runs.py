"""Runs so small that a test can have many of them."""

from pathlib import Path
from typing import Any

import numpy as np

from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.load import Resolved, resolve
from pgcli.config.schema import RunConfig
from pgcli.training.loops.base import Groups, Loop

SMALL = (
    "env.num_envs=4",
    "host.workers=0",
    "rollout.num_steps=8",
    "network.hidden=[8]",
    "normalize.obs=true",
    "normalize.reward=true",
    "env.max_episode_steps=5",
    "eval.episodes=4",
    "eval.final_episodes=8",
)
PPO2 = ("algo.num_epochs=2", "algo.num_minibatches=2")
BATCH = 32
"""Steps of one iteration under `SMALL`."""


def resolved(env_id: str, *sets: str, seed: int = 0, algo: str = "ppo2") -> Resolved:
    """A run on small batches and networks; later settings win.

    Tests that keep to `SMALL` share their compiled programs. Rollouts of 8 steps under
    a time limit of 5 have every way in which an episode can end.
    """
    flags = {
        "algo.name": (algo, "--algo"),
        "env.id": (env_id, "--env"),
        "seed": (seed, "--seed"),
    }
    every = (*SMALL, *(PPO2 if algo == "ppo2" else ()), *sets)
    merged = {text.split("=")[0]: text for text in every}
    if ALGORITHM_CONFIGS[algo].collects == "episodes":
        merged.pop("rollout.num_steps", None)
    return resolve(file=None, flags=flags, sets=list(merged.values()), use_preset=False)


def config(env_id: str, *sets: str, seed: int = 0, algo: str = "ppo2") -> RunConfig:
    return resolved(env_id, *sets, seed=seed, algo=algo).config


def arrays(groups: Groups) -> dict[str, np.ndarray]:
    """Every array of a snapshot under one name."""
    return {
        f"{group}{name}": array
        for group, members in groups.items()
        for name, array in members.items()
    }


def assert_same_bytes(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        assert a[name].tobytes() == b[name].tobytes(), name


def snapshot(loop: Loop) -> dict[str, np.ndarray]:
    """Copies: the next `advance` takes the loop's own arrays back."""
    return {name: x.copy() for name, x in arrays(loop.snapshot()).items()}


def rows(path: Path) -> list[dict[str, Any]]:
    import json

    return [json.loads(line) for line in path.read_text().splitlines()]
