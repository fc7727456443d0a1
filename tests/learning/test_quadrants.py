"""An image and a vector that are only useful together: learned, by every algorithm."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from pgcli.algos import ALGORITHMS
from pgcli.config.load import Resolved, resolve
from pgcli.envs import user_modules
from pgcli.envs.make import make_device_env
from pgcli.training.loops.device_loop import DeviceLoop
from pgcli.training.loops.host_loop import HostLoop
from pgcli.training.space_defaults import look

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SMALL = (
    "env.num_envs=4",
    "rollout.num_steps=8",
    "network.hidden=[8]",
    "host.workers=0",
    "algo.num_minibatches=2",
)


@pytest.fixture(autouse=True)
def task(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(user_modules, "NAMED", [])
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "support"))
    user_modules.use(["quadrants"])
    user_modules.named()
    yield
    sys.modules.pop("quadrants")
    gymnasium.registry.pop("Quadrants-v0")


def by_spaces(env_id: str, algo: str, *sets: str) -> Resolved:
    """A configuration with the defaults by the environment's spaces."""
    flags = {"env.id": (env_id, "--env"), "algo.name": (algo, "--algo")}
    return resolve(file=None, flags=flags, sets=sets, spaces=look)


def loop_of(resolved: Resolved) -> Any:
    config = resolved.config
    if config.env.on_device:
        return DeviceLoop(config, make_device_env(config.env))
    return HostLoop(config)


@pytest.mark.parametrize("env_id", ["func:Quadrants", "Quadrants-v0"])
def test_image_and_vector_are_learned_to_the_best_return(env_id: str) -> None:
    """At least 7.5 of 8; the image alone gives 4, and random actions 2.

    Measured: 7.84 to 7.98 on the device with seeds 0 to 4, 7.9 on the host.
    """
    asked = by_spaces(env_id, "ppo2", "steps=60_000")
    assert asked.config.network.torso == "grid_cnn"
    loop = loop_of(asked)
    try:
        while loop.steps < asked.config.steps:
            loop.advance(asked.config.steps, 10.0)
        returns = loop.evaluate(100, "reporting", 0)[0]
    finally:
        loop.close()
    assert np.mean(returns) >= 7.5


@pytest.mark.parametrize("memory", ["null", "gru"])
@pytest.mark.parametrize("env_id", ["func:Quadrants", "Quadrants-v0"])
@pytest.mark.parametrize("algo", sorted(ALGORITHMS))
def test_every_algorithm_learns_from_both_parts(
    algo: str, env_id: str, memory: str
) -> None:
    usual = by_spaces(env_id, algo).config.algo
    sets = [x for x in SMALL if usual.collects == "steps" or "num_steps" not in x]
    sets = [x for x in sets if usual.num_minibatches > 1 or "minibatches" not in x]
    loop = loop_of(by_spaces(env_id, algo, *sets, f"network.memory={memory}"))
    try:
        rows = loop.advance(1, 0.0)
    finally:
        loop.close()
    numbers = [x for x in rows[-1].values() if isinstance(x, float)]
    assert numbers
    assert all(map(math.isfinite, numbers))
