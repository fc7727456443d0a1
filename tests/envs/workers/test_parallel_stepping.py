"""Lanes: equal bytes for any number of workers, errors that name environments."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from pgcli.config.schema import EnvConfig
from pgcli.envs.base import Discrete, HostEnv, HostSlot
from pgcli.envs.host.env_factory import EnvFactory, env_factory
from pgcli.envs.make import helpers_of, make_host_env
from pgcli.envs.workers.messages import decode, encode
from pgcli.envs.workers.parallel_stepping import Lanes, split
from pgcli.envs.workers.shared_memory import Block, unnamed_file
from pgcli.envs.workers.worker_count import (
    choose_workers,
    hand_over_seconds,
    step_seconds,
    workers_pay,
)
from pgcli.errors import EnvironmentFailed

NUM_ENVS = 5
SEEDS = [31, 32, 33, 34, 35]
TIMEOUT = 0.5
DEADLINE = 60  # seconds that end a test of what hangs, on any machine
WAYS = [0, "thread", 1, 2]
Played = dict[str, np.ndarray]


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    gymnasium.register("Bad-v0", "support.failing_env:Bad")
    yield
    del gymnasium.registry["Bad-v0"]


def make(env_id: str, workers: Any, timeout: float = 60.0, **config: Any) -> HostEnv:
    given = EnvConfig(env_id, **config)
    return make_host_env(given, SEEDS, workers=workers, timeout=timeout)


def factory(env_id: str) -> EnvFactory:
    return env_factory(EnvConfig(env_id))


def block(env: HostEnv) -> Block:
    """Zeroed arrays for a step, and an action."""
    file = unnamed_file("test")
    try:
        return Block(file, env.spec, env.num_envs, 0)
    finally:
        os.close(file)


def actions(env: HostEnv, num_steps: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    if isinstance(env.spec.action, Discrete):
        size = (num_steps, NUM_ENVS)
        return generator.integers(env.spec.action.n, size=size).astype(np.int32)
    size = (num_steps, *block(env).action.shape)
    return generator.normal(size=size).astype(np.float32)


def play(env: HostEnv, num_steps: int, rollouts: int = 2, some: bool = False) -> Played:
    """All results of some rollouts, each after its own reset."""
    slot, seen = block(env).slot, []
    drawn = actions(env, num_steps * rollouts)
    for t, action in enumerate(drawn):
        if t % num_steps == 0:
            env.reset(slot.obs)
            active = np.ones(NUM_ENVS, bool) if some else None
        for field in slot[:6]:  # inactive rows are not written
            field[...] = 0
        finals = env.step(action, slot, active)
        found = np.zeros((NUM_ENVS, *slot.obs.shape[1:]), np.float32)
        for n, obs in finals:
            found[n] = obs
        seen.append([np.array(x) for x in slot[:6]] + [found])
        if active is not None:
            active &= ~(slot.terminated | slot.truncated)
    columns = [np.stack(x) for x in zip(*seen, strict=True)]
    return dict(zip((*HostSlot._fields[:6], "finals"), columns, strict=True))


@pytest.mark.parametrize("some", [False, True], ids=["all", "active"])
def test_lanes_return_the_same_bytes_for_any_workers(some: bool) -> None:
    # 25 steps under a limit of 20: CartPole falls on its own and is cut off too
    ends = {"max_episode_steps": 20}
    played: list[Played] = []
    for workers in WAYS:
        env = make("CartPole-v1", workers, **ends)
        try:
            played.append(play(env, 25, some=some))
        finally:
            env.close()
    first, *others = played
    assert first["terminated"].any()
    assert first["truncated"].any() or some
    assert first["finals"].any() != some  # they stay in their row where none follows
    for other in others:
        for name, array in first.items():
            assert other[name].tobytes() == array.tobytes(), name


def test_lanes_split_rows_evenly_and_completely() -> None:
    assert split(8, 2) == [range(4), range(4, 8)]
    for num_envs in range(2, 12):
        for lanes in range(2, num_envs + 1):
            shares = split(num_envs, lanes)
            assert [n for share in shares for n in share] == list(range(num_envs))
            sizes = [len(share) for share in shares]
            assert max(sizes) - min(sizes) <= 1
            assert min(sizes) >= 1


@pytest.mark.parametrize(
    ("workers", "words"), [(0, ""), ("thread", "1 helper thread"), (1, "1 worker")]
)
def test_lanes_tell_who_helps(workers: Any, words: str) -> None:
    env = make("CartPole-v1", workers)
    assert helpers_of(env) == words
    env.close()


@pytest.mark.parametrize("workers", ["thread", 2])
def test_lanes_take_and_give_plain_data_of_every_row(workers: Any) -> None:
    gymnasium.register("Asked-v0", "support.probed_env:Asked")
    env = make("Asked-v0", workers)
    assert isinstance(env, Lanes)
    try:
        slot = block(env).slot
        env.reset(slot.obs)
        env.step(np.zeros(NUM_ENVS, np.int32), slot)
        taken = env.gather("take")
        assert [item["row"] for item in taken] == list(range(NUM_ENVS))
        assert all(item["steps"].tolist() == [1] for item in taken)
        env.scatter("give", [10 * n for n in range(NUM_ENVS)])
        env.step(np.zeros(NUM_ENVS, np.int32), slot)
        assert slot.obs[:, 1].tolist() == [1, 11, 21, 31, 41]
        large = [np.zeros(10**5)] * NUM_ENVS  # more than a pipe holds
        env.scatter("count", large)
        assert env.gather("count") == [10**5] * NUM_ENVS
        with pytest.raises(ValueError, match=r"^-1 steps$"):
            env.scatter("give", [0, 0, 0, 0, -1], raises=(ValueError,))
    finally:
        env.close()
        del gymnasium.registry["Asked-v0"]


def test_wire_keeps_plain_data_and_refuses_the_rest() -> None:
    state = {
        "position": 2**127 + 1,  # the counters of NumPy's generators
        "low": -np.inf,
        "rows": np.arange(6, dtype=np.int16).reshape(2, 3)[:, ::2],
        "none": [None, True, "ü", b"\0\xff", np.float32(0.1)],
    }
    found = decode(encode(state))
    assert (found["position"], found["low"]) == (2**127 + 1, -np.inf)
    assert found["rows"].tolist() == [[0, 2], [3, 5]]
    assert found["rows"].dtype == np.int16
    assert found["none"] == [None, True, "ü", b"\0\xff", np.float32(0.1)]
    for bad in (object(), {1, 2}, np.array([object()]), lambda: None):
        with pytest.raises(TypeError, match="plain data"):
            encode(bad)


def failing(fault: str, workers: Any, **kwargs: Any) -> EnvironmentFailed:
    """The error of five environments if the last misbehaves in its third step."""
    timeout = TIMEOUT if fault in ("stop", "sleep") else 2.0 * DEADLINE
    bad = {"fault": fault, "at": 2, "seed": SEEDS[-1], **kwargs}
    env = make("Bad-v0", workers, kwargs=bad, timeout=timeout)
    started = time.monotonic()
    try:
        with pytest.raises(EnvironmentFailed) as caught:
            play(env, 6, rollouts=1)
        # workers are unusable now, and raise instead of hanging
        if workers == 1:
            with pytest.raises(EnvironmentFailed):
                env.reset(block(env).slot.obs)
    finally:
        env.close()
    assert time.monotonic() - started < DEADLINE  # did not wait for the timeout
    return caught.value


RAISED = {
    "raise": "KeyError: 'wheel'",
    "unpicklable": "UnpicklableError",
    "exit": "SystemExit: 7",
    "base": "SimulatorError: the simulator died",
    "generator_exit": "GeneratorExit at ",
    "assert": "failing_env.py:62, in fail",
}
MISFORMED = {
    "shape": "has the shape (1,), not (2,)",
    "list": "has the shape (3,), not (2,)",
    "kind": "has the dtype complex64, not float32",
    "dtype": "changed its dtype from float32 to float64",
}
DIED = {
    "os_exit": "its worker exited with code 7",
    "segfault": "its worker was killed by SIGSEGV",
    "kill": "its worker was killed by SIGKILL",
}
LATE = {"stop": f"no answer in {TIMEOUT} s", "sleep": f"no answer in {TIMEOUT} s"}


def check_named(error: EnvironmentFailed, how: str) -> None:
    assert "environment 4" in error.message
    assert "at its step 2" in error.message
    assert how in error.message
    assert error.where == "environment Bad-v0, seed 35"
    assert error.exit_code == 3


@pytest.mark.parametrize("workers", [0, "thread", 1])
@pytest.mark.parametrize("fault", RAISED)
def test_what_an_environment_raises_is_named_with_its_traceback(
    fault: str, workers: Any
) -> None:
    error = failing(fault, workers)
    check_named(error, RAISED[fault])
    assert "in _misbehave" in (error.trace or "")


@pytest.mark.parametrize("workers", [0, "thread", 1])
@pytest.mark.parametrize("fault", MISFORMED)
def test_an_observation_of_another_form_is_named(fault: str, workers: Any) -> None:
    check_named(failing(fault, workers), MISFORMED[fault])


@pytest.mark.parametrize("fault", [*DIED, *LATE])
def test_a_worker_that_dies_or_hangs_is_named(fault: str) -> None:
    error = failing(fault, 1)
    check_named(error, {**DIED, **LATE}[fault])
    if fault in ("segfault", "sleep"):  # where it was, in C code
        assert "in fail" in (error.trace or "")


def test_a_thread_that_hangs_is_named() -> None:
    error = failing("sleep", "thread")
    check_named(error, LATE["sleep"])
    assert "time.sleep" in (error.trace or "")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_failing_reset_and_constructor_are_named(workers: Any) -> None:
    check = failing("reset", workers)
    assert check.message == "environment 4 failed at its step 0: KeyError: 'wheel'"
    with pytest.raises(EnvironmentFailed, match="could not be made: ValueError: no"):
        make("Bad-v0", workers, kwargs={"fault": "make"})


def test_workers_leave_stdout_alone_and_no_process_behind(
    capfd: pytest.CaptureFixture[str],
) -> None:
    env = make("Bad-v0", 2)
    assert isinstance(env, Lanes)
    pids = [process.process.pid for process in env._helper._processes]  # type: ignore[attr-defined]
    capfd.readouterr()
    play(env, 3)
    env.close()
    out, err = capfd.readouterr()
    mine = split(NUM_ENVS, 3)[0]
    assert out.count("noise") == 6 * len(mine)  # this process's own
    assert err.count("noise") == 6 * (NUM_ENVS - len(mine))
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


SCRIPT = """
import os, signal, sys, gymnasium, numpy as np
print("main", flush=True)  # twice, if a worker ran this file
gymnasium.register("Bad-v0", "support.failing_env:Bad")
from pgcli.config.schema import EnvConfig
from pgcli.envs.make import make_host_env
from pgcli.envs.workers.shared_memory import Block, unnamed_file
config = EnvConfig("Bad-v0", kwargs={"fault": sys.argv[1], "seed": 3})
env = make_host_env(config, [1, 2, 3], workers=2)
slot = Block(unnamed_file("x"), env.spec, 3, 0).slot
print(*(p.process.pid for p in env._helper._processes), flush=True)
env.reset(slot.obs)
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background: ignored
while True:
    env.step(np.zeros(3, np.int32), slot)
    if sys.argv[2] == "leave":
        os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.parametrize(
    ("fault", "end"),
    [
        ("", signal.SIGKILL),
        pytest.param("sleep", signal.SIGKILL, marks=pytest.mark.slow),
        ("", None),
    ],
)
def test_workers_die_with_their_parent(
    tmp_path: Path, fault: str, end: signal.Signals | None
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)  # no guard around its main part
    path = os.pathsep.join(p for p in sys.path if p)
    parent = subprocess.Popen(
        [sys.executable, script, fault, "" if end else "leave"],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "main\n"
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2
    if end is not None:
        time.sleep(0.3)
        parent.send_signal(end)
    _, err = parent.communicate(timeout=DEADLINE)
    assert "resource_tracker" not in err
    assert "leaked" not in err
    limit = time.monotonic() + DEADLINE
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < limit, "a worker outlives its parent"
        time.sleep(0.02)


def test_environments_in_a_worker_import_no_jax() -> None:
    code = """
import sys
from pgcli.config.schema import EnvConfig
from pgcli.envs.workers import worker_process as worker
from pgcli.envs.host.env_factory import EnvFactory, env_factory
from pgcli.envs.host.in_process import InProcess
text = env_factory(EnvConfig("CartPole-v1")).to_text()
InProcess.make(EnvFactory.from_text(text), [1])
print(sorted({"jax", "flax", "gymnax"} & set(sys.modules)))
"""
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


MICROSECOND = 1e-6


@pytest.mark.parametrize(
    ("step", "hand_over", "num_envs", "lanes", "pays"),
    [
        (6, 50, 8, 2, False),  # CartPole: 48 against 24 + 50
        (24, 200, 8, 2, False),  # the same on a machine four times as slow
        (57, 50, 8, 2, True),  # HalfCheetah: 456 against 228 + 50
        (57, 50, 1, 2, False),  # one environment cannot be split
        (25, 50, 3, 2, False),  # the larger share counts: 75 against 50 + 50
        (25, 50, 64, 4, True),  # 1600 against 400 + 50
    ],
)
def test_workers_pay_where_their_share_saves_more_than_handing_over(
    step: float, hand_over: float, num_envs: int, lanes: int, pays: bool
) -> None:
    measured = step * MICROSECOND, hand_over * MICROSECOND
    assert workers_pay(*measured, num_envs, lanes) == pays


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The measurements of `auto`, in order: a step of 6 µs, on four cores."""
    asked: list[str] = []

    def step(factory: EnvFactory) -> float:
        asked.append(factory.id)
        return 6 * MICROSECOND if factory.id == "CartPole-v1" else 1.0

    def hand_over() -> float:
        asked.append("hand over")
        return 50 * MICROSECOND

    monkeypatch.setattr("pgcli.envs.workers.worker_count.step_seconds", step)
    monkeypatch.setattr("pgcli.envs.workers.worker_count.hand_over_seconds", hand_over)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(4))
    monkeypatch.setenv("PGCLI_CACHE", str(tmp_path))
    return asked


def test_auto_starts_no_worker_for_a_cheap_environment(
    measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("started"))
    env = make("CartPole-v1", "auto")
    assert helpers_of(env) == ""
    assert measured == ["CartPole-v1", "hand over"]
    env.close()


def test_auto_remembers_per_environment_and_version(
    measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {env_id: factory(env_id) for env_id in ("CartPole-v1", "Pendulum-v1")}

    def chosen(env_id: str) -> Any:
        measured.clear()
        return choose_workers(made[env_id], 8)

    assert chosen("CartPole-v1") == 0
    assert measured == ["CartPole-v1", "hand over"]
    assert chosen("CartPole-v1") == 0
    assert measured == []
    assert chosen("Pendulum-v1") == 3  # this process and three workers
    assert measured == ["Pendulum-v1"]
    monkeypatch.setattr("pgcli.versions.installed", lambda name: "9.9")
    assert chosen("CartPole-v1") == 0
    assert measured == ["CartPole-v1"]
    monkeypatch.setattr(
        "pgcli.envs.user_modules.NAMED", ["mine"]
    )  # code that may change
    for _ in range(2):
        assert chosen("CartPole-v1") == 0
        assert measured == ["CartPole-v1"]


@pytest.mark.parametrize("content", ["", "null", "-1.0", "NaN", "[1.0]"])
def test_auto_measures_again_where_the_cache_is_damaged(
    measured: list[str], tmp_path: Path, content: str
) -> None:
    choose_workers(factory("CartPole-v1"), 8)
    for file in (tmp_path / "seconds").iterdir():
        file.write_text(content)
    choose_workers(factory("CartPole-v1"), 8)
    assert measured == 2 * ["CartPole-v1", "hand over"]


def test_auto_measures_every_time_without_a_cache(
    measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLI_CACHE", "")
    for _ in range(2):
        assert choose_workers(factory("CartPole-v1"), 8) == 0
    assert measured == 2 * ["CartPole-v1", "hand over"]


def test_auto_is_overruled_and_needs_two_environments(measured: list[str]) -> None:
    assert choose_workers(factory("CartPole-v1"), 1) == 0
    env = make("CartPole-v1", "thread")
    assert helpers_of(env) == "1 helper thread"
    env.close()
    assert measured == []


def test_auto_leaves_the_streams_of_training_alone() -> None:
    played = []
    for workers in ("auto", 0):
        env = make("CartPole-v1", workers)
        played.append(play(env, 20))
        env.close()
    assert played[0]["obs"].tobytes() == played[1]["obs"].tobytes()


def test_a_step_and_handing_it_over_are_measured() -> None:
    assert step_seconds(factory("CartPole-v1")) > 0
    assert hand_over_seconds() > 0
