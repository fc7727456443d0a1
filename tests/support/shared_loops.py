"""Loops that tests take in turn: tracing and compiling their programs is what costs."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from support.small_runs import arrays, config

from pgcli.arrays import sample_blocks
from pgcli.config.schema import RunConfig
from pgcli.envs.make import make_device_env
from pgcli.training.backend.layout import Layout, make_mesh
from pgcli.training.loops.base import Groups, Row
from pgcli.training.loops.device_loop import DeviceLoop
from pgcli.training.members.device_members import DeviceMembers

ENV = "func:CartPole-v1"
_made: dict[Any, Any] = {}


def alone(cfg: RunConfig, data: int = 1) -> DeviceLoop:
    """A run before its first iteration.

    It is the loop of the last run that had its structure and devices, begun anew: what
    is compared with it must have been taken out as copies.
    """
    optimizer = dataclasses.replace(cfg.optimizer, lr=1.0)
    structure = dataclasses.replace(cfg, seed=0, optimizer=optimizer)
    key = ("alone", repr(structure), data)
    if key not in _made:
        mesh = make_mesh(Layout(1, data))
        _made[key] = DeviceLoop(cfg, make_device_env(cfg.env), mesh=mesh)
    loop: DeviceLoop = _made[key]
    loop.restart(cfg)
    return loop


def side_by_side(algo: str = "ppo2", devices: int = 1, **changes: Any) -> DeviceMembers:
    """Runs side by side before their first iteration; a loop begun anew, as above."""
    cfg = dataclasses.replace(config(ENV, algo=algo), **changes)
    key = ("side by side", repr(cfg), devices, sample_blocks.BLOCK)
    if key not in _made:
        mesh = make_mesh(Layout(devices, 1))
        _made[key] = DeviceMembers(cfg, make_device_env(cfg.env), mesh)
    loop: DeviceMembers = _made[key]
    loop.restart(cfg)
    return loop


def advance(loop: Any, iterations: int) -> list[Row]:
    """Iterations one by one."""
    rows: list[Row] = []
    for _ in range(iterations):
        rows += loop.advance(loop.steps + 1, 1.0)
    return rows


def params(loop: Any, member: int | None = None) -> np.ndarray:
    """A copy of all parameters of an agent, or of a member's, in a row."""
    leaves = [x for k, x in arrays(loop.snapshot()).items() if k.startswith("agent")]
    chosen = leaves if member is None else [leaf[member] for leaf in leaves]
    return np.concatenate([leaf.ravel().astype(np.float64) for leaf in chosen])


def stored(taken: Mapping[str, np.ndarray]) -> Groups:
    """A snapshot's groups again, of its arrays under one name."""
    return {
        group: {
            name.removeprefix(group): array
            for name, array in taken.items()
            if name.startswith(group)
        }
        for group in DeviceLoop.groups
    }
