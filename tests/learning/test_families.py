"""Every registered environment trains, or says in words why it does not."""

import importlib.util
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from support.user_module import Lamps, Rooms

from pgcli.config.load import resolve
from pgcli.envs.host.in_process import InProcess
from pgcli.envs.host.wrappers import NamedParts
from pgcli.envs.make import make_host_env
from pgcli.errors import PgcliError
from pgcli.training.loops.host_loop import HostLoop

SMALL = (
    "env.num_envs=2",
    "rollout.num_steps=8",
    "algo.num_minibatches=2",
    "algo.num_epochs=1",
    "network.hidden=[8]",
    "parallel.shards=2",
)
REASONS = (
    "have been moved to the gymnasium-robotics project",
    "shimmy",
    "needs a package that is not installed",
    "no action distribution for",  # tabular/…: whole numbers as a Box
    "TypePromotionError",  # JAX code of theirs, under the strict rules of the tests
)
"""Why an environment of the registry does not train: others' packages."""

# of the hundreds of MiniGrid, those that differ in more than their map
SOME = ("MiniGrid-Empty-5x5-v0", "MiniGrid-DoorKey-6x6-v0", "BabyAI-GoToObj-v0")


def registered() -> Iterator[Any]:
    if importlib.util.find_spec("minigrid"):
        importlib.import_module("minigrid")
    for spec in gymnasium.registry.values():
        grid = spec.id.startswith(("MiniGrid-", "BabyAI-")) and spec.id not in SOME
        if "ale_py" not in str(spec.entry_point) and not grid:
            yield pytest.param(spec.id, marks=pytest.mark.slow)


def two_iterations(env_id: str, env: Any = None, *sets: str) -> list[dict[str, Any]]:
    flags = {"env.id": (env_id, "--env")}
    config = resolve(
        file=None, flags=flags, sets=[*SMALL, *sets], use_preset=False
    ).config
    env = env or make_host_env(config.env, [0, 1])
    loop = HostLoop(config, env)
    try:
        return [row for _ in range(2) for row in loop.advance(loop.steps + 1, 1.0)]
    finally:
        loop.close()


@pytest.mark.parametrize("env_id", list(registered()))
def test_registered_environment_trains_or_says_why_not(env_id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # many say that a newer version is there
        try:
            rows = two_iterations(env_id)
        except PgcliError as error:
            if any(reason in error.message for reason in REASONS):
                return
            raise
    assert [row["iteration"] for row in rows] == [1, 2]
    for row in rows:
        assert row["skipped"] == 0
        assert np.isfinite(row["kl"])


@pytest.mark.parametrize("make", [Rooms, pytest.param(Lamps, marks=pytest.mark.slow)])
def test_choices_bits_and_compound_observations_train(make: Any) -> None:
    envs = [make() for _ in range(2)]
    envs = [NamedParts(env) if make is Rooms else env for env in envs]
    rows = two_iterations("Own-v0", InProcess(envs, [0, 1], "Own-v0"))
    # the first policy is nearly uniform: over 2 × 3 × 2 values, over 2⁴ lamps; the
    # deviation of the Gaussian of one number is 1
    normal = 0.5 * np.log(2 * np.pi * np.e)
    expected = {Rooms: np.log(12) + normal, Lamps: 4 * np.log(2)}[make]
    assert rows[0]["entropy"] == pytest.approx(expected, rel=0.05)
    for row in rows:
        assert row["skipped"] == 0
        assert np.isfinite(row["kl"])
