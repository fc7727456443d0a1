"""Runs with compiled programs of earlier processes: the same bytes, without tracing."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from support.shared_loops import ENV, advance
from support.small_runs import assert_same_bytes, config, snapshot

from pgcli.algos import ALGORITHMS
from pgcli.arrays import shared as sharing
from pgcli.config.schema import RunConfig
from pgcli.envs.make import make_device_env
from pgcli.training.backend.layout import Layout, make_mesh
from pgcli.training.loops.base import Loop
from pgcli.training.loops.device_loop import DeviceLoop
from pgcli.training.loops.host_loop import HostLoop
from pgcli.training.members.device_members import DeviceMembers
from pgcli.training.programs import kept


def on_device(cfg: RunConfig, data: int = 1) -> Loop:
    return DeviceLoop(cfg, make_device_env(cfg.env), mesh=make_mesh(Layout(1, data)))


def members(cfg: RunConfig, devices: int = 1) -> Loop:
    cfg = cfg.with_values({"seeds": 3})
    return DeviceMembers(cfg, make_device_env(cfg.env), make_mesh(Layout(devices, 1)))


def on_host(cfg: RunConfig, data: int = 1) -> Loop:
    cfg = cfg.with_values({"env.id": "CartPole-v1"})
    return HostLoop(cfg, mesh=make_mesh(Layout(1, data)))


QUICK = {("host", "a2c")}
slow = pytest.mark.slow
LOOPS: dict[str, Any] = {
    "device": on_device,
    "two devices": lambda cfg: on_device(cfg, 2),
    "gymnax": lambda cfg: on_device(cfg.with_values({"env.id": "gymnax:CartPole-v1"})),
    "members": members,
    "members on two devices": lambda cfg: members(cfg, 2),
    "host": on_host,
    "host on two devices": lambda cfg: on_host(cfg, 2),
}


def results(
    loop: str, cfg: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> dict[str, np.ndarray]:
    """The state after three iterations, and the returns of an evaluation."""
    # as in another process
    monkeypatch.setattr(sharing, "_results", OrderedDict())
    jax.clear_caches()
    run: Loop = LOOPS[loop](cfg)
    advance(run, 3)
    played = run.evaluate(4, "selection", 0)
    state = snapshot(run) | {"returns": played.returns}
    run.close()
    return state


def never_traced(*_: Any) -> Any:
    raise AssertionError("traced")


@pytest.mark.parametrize(
    ("loop", "algo"),
    [
        pytest.param(loop, algo, marks=() if (loop, algo) in QUICK else slow)
        for loop in LOOPS
        for algo in ALGORITHMS
    ],
)
def test_kept_programs_train_byte_for_byte(
    loop: str, algo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if loop == "gymnax":
        pytest.importorskip("gymnax")
    cfg = config(ENV, algo=algo)
    monkeypatch.setenv("PGCLI_CACHE", str(tmp_path))
    first = results(loop, cfg, monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(kept, "_compile", never_traced)
        assert_same_bytes(results(loop, cfg, monkeypatch), first)
    if (loop, algo) not in QUICK:
        monkeypatch.setenv("PGCLI_CACHE", "")
        assert_same_bytes(results(loop, cfg, monkeypatch), first)
