"""How host environments are stepped fastest: measured on environments of its own.

Training's environments are not touched, so that their random streams stay where they
are; what comes out differs in speed alone.
"""

import contextlib
import functools
import os
import time
from collections.abc import Callable
from typing import Any, Literal

from pgcli.config.schema import EnvConfig
from pgcli.envs import wire
from pgcli.envs.base import HostEnv
from pgcli.envs.lanes import Lanes
from pgcli.envs.shared import Block, unnamed_file
from pgcli.envs.vectorize import InProcess
from pgcli.errors import PgcliError

QUICK_STEP = 20e-6
"""Seconds below which handing a step over costs more than it saves."""

SLOW_STEP = 5e-3
"""Seconds above which it costs nothing to speak of, and measuring would."""

MARGIN = 1.1
"""How much faster than this process alone, and than a thread, help must be."""

MOST_ENVS = 8
PROBE_SECONDS = 0.003
ROUND_SECONDS = 0.06
ROUNDS = 4

Workers = int | Literal["thread"]


def choose_workers(config: EnvConfig, num_envs: int) -> Workers:
    """Child processes or a thread, as configured; where `auto`, what is fastest here.

    It is measured once per process and configuration.
    """
    if config.workers != "auto":
        return config.workers
    cores = len(os.sched_getaffinity(0))
    if min(cores, num_envs) == 1:
        return 0
    try:
        text = wire.from_config(config)
    except TypeError:  # arguments that no other process can be told
        return 0
    return _fastest(text, num_envs, cores)


@functools.cache
def _fastest(text: str, num_envs: int, cores: int) -> Workers:
    config = wire.to_config(text)
    try:
        seconds = _seconds_per_step(config)
        children = min(cores, num_envs) - 1
        if seconds < QUICK_STEP:
            return 0
        if seconds > SLOW_STEP:
            return children
        return _compare(config, num_envs, children)
    except PgcliError:  # whoever makes the environments for good will say why
        return 0


def _seconds_per_step(config: EnvConfig) -> float:
    """Of one environment, at its best."""
    env = InProcess.make(config, [0])
    try:
        step = _stepper(env)
        return min(_timed(step, PROBE_SECONDS) for _ in range(ROUNDS))
    finally:
        env.close()


def _compare(config: EnvConfig, num_envs: int, children: int) -> Workers:
    """The fastest by steps per second, all measured in turn."""
    candidates: tuple[Workers, ...] = ("thread", children)
    count = min(num_envs, max(MOST_ENVS, children + 1))
    seeds = list(range(count))
    with contextlib.ExitStack() as open_envs:

        def opened(env: HostEnv) -> Callable[[], None]:
            open_envs.callback(env.close)
            return _stepper(env)

        steppers: dict[Workers, Callable[[], None]] = {}
        # started first, so that they import and make while we do
        for workers in reversed(candidates):
            with contextlib.suppress(PgcliError):
                steppers[workers] = opened(Lanes.make(config, seeds, workers))
        steppers[0] = opened(InProcess.make(config, seeds))
        best = dict.fromkeys(steppers, float("inf"))
        for _ in range(ROUNDS):
            for workers, step in steppers.items():
                best[workers] = min(best[workers], _timed(step, ROUND_SECONDS))
    chosen: Workers = 0
    for workers in candidates:
        if best.get(workers, float("inf")) * MARGIN < best[chosen]:
            chosen = workers
    return chosen


def _stepper(env: HostEnv) -> Callable[[], Any]:
    """Steps the environments with the same action again and again, from a reset on."""
    file = unnamed_file("pgcli-measure")
    try:
        block = Block(file, env.spec, env.num_envs, 0)
    finally:
        os.close(file)
    env.reset(block.slot.obs)
    return functools.partial(env.step, block.action, block.slot)


def _timed(step: Callable[[], Any], seconds: float) -> float:
    """Seconds per call, over at least so many."""
    count, start = 0, time.perf_counter()
    while True:
        step()
        count += 1
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return elapsed / count
