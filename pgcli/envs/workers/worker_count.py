"""Decides how many worker processes help to step host environments.

One vector step of N environments costs N·s in this process, where s is the time of one
environment's step. With W workers it costs ⌈N/(W+1)⌉·s + h, where h is the cost of
handing a step over to another process and waiting for it. Both are measured and kept in
the user's cache: h once per machine, by exchanging bytes with a small child process; s
once per machine, environment and version. No worker is started for the measurement. The
environments of training are not used, so that their random streams are not advanced:
the choice affects only the speed.
"""

import contextlib
import functools
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pgcli import versions
from pgcli.cache import cache_directory
from pgcli.envs import user_modules
from pgcli.envs.actions import random_action
from pgcli.envs.base import HostEnv, mask_key, split_mask
from pgcli.envs.host.env_factory import EnvFactory
from pgcli.envs.host.in_process import InProcess
from pgcli.envs.workers.shared_memory import Block, unnamed_file
from pgcli.errors import PgcliError

EXCHANGES_PER_HAND_OVER = 9
"""Ratio of h to one exchange of bytes: a worker also reads the command and wakes up.

Measured on CartPole-v1 with 8 environments: h = 50 µs, one exchange 5.5 µs.
"""

MARGIN = 1.25
"""Minimum speed-up by workers, which take half a second or more to start."""

PROBE_SECONDS = 0.003
ROUNDS = 4
WINDOW_SECONDS = 50e-6
WINDOWS = 1000

LIBRARIES = ("pgcli-jax", "gymnasium", "mujoco", "box2d", "ale-py", "minigrid")
"""Distributions whose version is part of the cache key of a step."""

ECHO = "import os\nwhile data := os.read(0, 64): os.write(1, data)"


def choose_workers(factory: EnvFactory, num_envs: int) -> int:
    """The number of child processes: one per further core if that is faster, else 0."""
    # one lane per available core; a single lane leaves no choice
    lanes = min(len(os.sched_getaffinity(0)), num_envs)
    if lanes == 1:
        return 0
    try:
        text = factory.to_text()
    except TypeError:  # its arguments cannot be sent to another process
        return 0
    try:
        step = _remembered(_key(text), lambda: step_seconds(factory))
        hand_over = _remembered("hand_over", hand_over_seconds)
    except (PgcliError, OSError):  # raised again when the environments are made
        return 0
    return lanes - 1 if workers_pay(step, hand_over, num_envs, lanes) else 0


def workers_pay(step: float, hand_over: float, num_envs: int, lanes: int) -> bool:
    """Whether `lanes` processes are faster than one by more than a factor `MARGIN`.

    `step` and `hand_over` are in seconds; this process is one of the lanes.
    """
    share = -(-num_envs // lanes)
    return num_envs * step > MARGIN * (share * step + hand_over)


def step_seconds(factory: EnvFactory) -> float:
    """Seconds of a step of one environment, the minimum of several rounds."""
    with contextlib.closing(InProcess.make(factory, [0])) as env:
        step = _stepper(env)
        return min(_timed(step, PROBE_SECONDS) for _ in range(ROUNDS))


def hand_over_seconds() -> float:
    """Seconds of handing a step over to a worker and waiting for it, estimated.

    Raises an OSError if no child process can be started.
    """
    # a child process that returns every byte, without site packages
    child = subprocess.Popen(
        [sys.executable, "-S", "-E", "-c", ECHO],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    there, back = child.stdin.fileno(), child.stdout.fileno()

    def exchange() -> None:
        os.write(there, b"step")
        if not os.read(back, 64):
            raise OSError("the child process ended")

    try:
        exchange()  # waits until it has started
        # many short windows, so that some are not interrupted by other processes
        best = min(_timed(exchange, WINDOW_SECONDS) for _ in range(WINDOWS))
    finally:
        child.stdin.close()
        child.wait()
        child.stdout.close()
    return EXCHANGES_PER_HAND_OVER * best


def _key(text: str) -> str | None:
    """A cache key for an environment and its versions; None with user modules.

    The code of user modules may change between runs.
    """
    if user_modules.NAMED:
        return None
    return _digest(text, *(versions.installed(name) for name in LIBRARIES))


@functools.cache
def _machine() -> str:
    """A cache key for this machine: its name, processors and Python."""
    model = platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((x for x in lines if x.startswith("model name")), model)
    return _digest(platform.node(), model, os.cpu_count(), sys.version)


def _digest(*facts: object) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def _remembered(key: str | None, measure: Callable[[], float]) -> float:
    """Seconds from the cache (without a key: not), or measured and put there.

    A failed write is ignored.
    """
    directory = cache_directory()
    if key is None or directory is None:
        return measure()
    # an unreadable or impossible entry is measured again
    file = directory / "seconds" / f"{_machine()}-{key}.json"
    with contextlib.suppress(OSError, ValueError):
        seconds = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(seconds, float) and 0 < seconds < float("inf"):
            return seconds
    # written under a temporary name first: other processes may read the file
    seconds = measure()
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(seconds), encoding="utf-8")
        partial.replace(file)
    return seconds


def _stepper(env: HostEnv) -> Callable[[], Any]:
    """A function that steps environments with valid actions, after a reset."""
    # buffers of one step
    file = unnamed_file("pgcli-measure")
    try:
        block = Block(file, env.spec, env.num_envs, 0)
    finally:
        os.close(file)
    env.reset(block.slot.obs)
    if mask_key(env.spec.obs) is None:
        return functools.partial(env.step, block.action, block.slot)
    generator = np.random.default_rng(0)

    def step() -> Any:
        mask, batch = split_mask(env.spec.obs, block.slot.obs)[1], (env.num_envs,)
        action = random_action(env.spec.action, batch, generator, mask)
        return env.step(action, block.slot)

    return step


def _timed(step: Callable[[], Any], seconds: float) -> float:
    """Seconds per call, averaged over at least `seconds`."""
    count, start = 0, time.perf_counter()
    while True:
        step()
        count += 1
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return elapsed / count
