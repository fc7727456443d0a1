"""States of environments: complete and plain, or refused with a reason."""

import copy
import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from cases.capture import register as register_cases
from gymnasium.wrappers import FrameStackObservation, NormalizeObservation
from support.stateful_envs import (
    Rich,
    Walker,
    begin,
    digest_of_steps,
    make,
    register,
    slot_of,
)

from pgcli.envs.base import EnvState, HostEnv
from pgcli.envs.spaces import by_part
from pgcli.envs.state.capture import capture, first_obs, refusal, restore
from pgcli.envs.state.physics_engines import NotRestoredError
from pgcli.envs.state.replay import MAX_BYTES, Recording, replay
from pgcli.envs.state.state_arrays import pack, unpack
from pgcli.errors import CheckpointError

register()
register_cases()

CLASSIC = ("CartPole-v1", "Pendulum-v1", "Acrobot-v1", "MountainCarContinuous-v0")
MUJOCO = ("HalfCheetah-v5", "Ant-v5", "Humanoid-v5", "Hopper-v5", "Walker2d-v5")
MUJOCO += ("Swimmer-v5", "Reacher-v5", "Pusher-v5", "InvertedDoublePendulum-v5")
BOX2D = ("LunarLander-v3", "LunarLanderContinuous-v3")
TEXT = ("Taxi-v4", "FrozenLake-v1", "CliffWalking-v1")


def needs(module: str, *ids: str) -> list[Any]:
    """Ids for slow tests that run if a module is installed."""
    return [pytest.param(i, "in_process", module, marks=pytest.mark.slow) for i in ids]


def after(env_id: str, vectorizer: str, steps: int) -> HostEnv:
    """Environments in the middle of their episodes."""
    env = make(env_id, vectorizer, 3)
    begin(env)
    digest_of_steps(env, steps, seed=1)
    return env


def stored(states: list[EnvState]) -> list[EnvState]:
    """States after a round trip through a checkpoint."""
    return unpack(pack({}, states), "here")[1]


def assert_same_states(a: list[EnvState], b: list[EnvState]) -> None:
    a, b = stored(a), stored(b)
    assert [state.facts for state in a] == [state.facts for state in b]
    for one, other in zip(a, b, strict=True):
        assert one.arrays.keys() == other.arrays.keys()
        for name, array in one.arrays.items():
            assert array.tobytes() == other.arrays[name].tobytes(), name


def reset_and_restore(env: Any, state: EnvState, seed: int) -> None:
    first_obs(env, state, seed)
    restore(env, state)


@pytest.mark.parametrize(
    ("env_id", "vectorizer"),
    [
        ("CartPole-v1", "in_process"),
        ("CartPole-v1", "native"),
        ("Pendulum-v1", "in_process"),
        ("FrozenLake-v1", "in_process"),
        ("pgcli/Rich-v0", "in_process"),
        ("pgcli/Own-v0", "in_process"),
        ("pgcli/Opaque-v0", "in_process"),
        ("pgcli/Sampling-v0", "in_process"),
        ("cases/Remote-v0", "in_process"),
        ("cases/Callback-v0", "in_process"),
        ("cases/Deep-v0", "in_process"),
        ("cases/Trail-v0", "in_process"),
        ("cases/Guarded-v0", "in_process"),
        ("cases/Remade-v0", "in_process"),
    ],
)
@pytest.mark.parametrize("steps", [0, 7, 137])
def test_restored_environments_go_on_byte_for_byte(
    env_id: str, vectorizer: str, steps: int
) -> None:
    env = after(env_id, vectorizer, steps)
    states = env.get_state()
    assert refusal(states) is None
    expected = digest_of_steps(env, 60, seed=2)
    again = make(env_id, vectorizer, 3, seed=99)
    again.set_state(stored(states))
    assert_same_states(again.get_state(), states)
    assert digest_of_steps(again, 60, seed=2) == expected
    assert_same_states(again.get_state(), env.get_state())


def test_chain_of_any_length_is_restored() -> None:
    env, again = (make("cases/Trail-v0", "in_process", 1) for _ in range(2))
    begin(env)
    digest_of_steps(env, 1500, seed=1)
    states = env.get_state()
    assert refusal(states) is None
    again.set_state(stored(states))
    assert_same_states(again.get_state(), states)
    node = again._envs[0].unwrapped.node
    for _ in range(1500):
        node = node.parent
    assert node is again._envs[0].unwrapped.root
    assert digest_of_steps(again, 60, seed=2) == digest_of_steps(env, 60, seed=2)


def test_value_too_deep_to_be_read_is_a_reason() -> None:
    env = Walker()
    env.reset(seed=0)
    env.thing = ()
    for _ in range(9999):
        env.thing = (env.thing,)
    assert "thing raised RecursionError" in str(refusal([capture(env)]))


def test_lives_left_are_part_of_a_state() -> None:
    def step(env: HostEnv) -> list[bool]:
        slot = slot_of(env, with_lives=True)
        env.step(np.zeros(3, np.int32), slot)
        return slot.life_lost.tolist()

    env, again = (make("pgcli/Mortal-v0", "in_process", 3) for _ in range(2))
    begin(env)
    for _ in range(7):  # the fourth takes a life
        lost = step(env)
    assert not any(lost)
    again.set_state(stored(env.get_state()))
    assert step(again) == step(env) == [True] * 3


@pytest.mark.parametrize(
    ("env_id", "workers"),
    [
        ("pgcli/Rich-v0", 1),
        ("pgcli/Rich-v0", "thread"),
        pytest.param("pgcli/Opaque-v0", 1, marks=pytest.mark.slow),
        ("pgcli/Opaque-v0", "thread"),
    ],
)
def test_states_do_not_depend_on_the_workers(env_id: str, workers: Any) -> None:
    env = after(env_id, "in_process", 27)
    states = env.get_state()
    lanes = make(env_id, "in_process", 3, seed=99, workers=workers)
    again = make(env_id, "in_process", 3, seed=98)
    try:
        lanes.set_state(stored(states))
        assert_same_states(lanes.get_state(), states)
        assert lanes.seeds == env.seeds
        expected = digest_of_steps(env, 18, seed=2)
        assert digest_of_steps(lanes, 18, seed=2) == expected
        again.set_state(stored(lanes.get_state()))
        expected = digest_of_steps(env, 18, seed=3)
        assert digest_of_steps(again, 18, seed=3) == expected
        with pytest.raises(CheckpointError, match=r"2 environments .* 3 are"):
            lanes.set_state(states[:2])
        del states[1].facts["levels"][0]
        with pytest.raises(CheckpointError, match="the environment is"):
            lanes.set_state(states)
    finally:
        lanes.close()


@pytest.mark.parametrize("workers", ["thread", pytest.param(1, marks=pytest.mark.slow)])
def test_lanes_say_which_environment_is_not_restored(workers: Any) -> None:
    states = after("pgcli/Endless-v0", "in_process", 25).get_state()
    lanes = make("pgcli/Endless-v0", "in_process", 3, workers=workers)
    try:
        with pytest.raises(NotRestoredError, match="environment 1: its episode ended"):
            lanes.set_state(states)
    finally:
        lanes.close()


@pytest.mark.parametrize(
    ("env_id", "vectorizer", "module"),
    [
        pytest.param("CartPole-v1", "native", None, marks=pytest.mark.slow),
        *(
            pytest.param(env_id, "in_process", None, marks=pytest.mark.slow)
            for env_id in (*CLASSIC, *TEXT, "pgcli/Rich-v0", "pgcli/Opaque-v0")
        ),
        *needs("mujoco", *MUJOCO),
        *needs("Box2D", *BOX2D, "CarRacing-v3"),
    ],
)
def test_restored_environments_go_on_byte_for_byte_in_a_new_process(
    tmp_path: Path, env_id: str, vectorizer: str, module: str | None
) -> None:
    if module is not None:
        pytest.importorskip(module)
    before, steps = (60, 30) if "Racing" in env_id else (637, 200)
    env = after(env_id, vectorizer, before)
    path = tmp_path / "state.npz"
    np.savez(path, **pack({"count": env.num_envs}, env.get_state()))
    expected = digest_of_steps(env, steps, seed=2)
    script = "from support.stateful_envs import main; main()"
    child = subprocess.run(
        [sys.executable, "-c", script, str(path), env_id, vectorizer, str(steps)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.splitlines()[-1] == expected


@pytest.mark.parametrize("env_id", ["CartPole-v1", "pgcli/Rich-v0"])
def test_no_attribute_can_be_left_out(env_id: str) -> None:
    states = after(env_id, "in_process", 7).get_state()
    dropped = 0
    for level, tree in enumerate(states[0].facts["levels"]):
        for name in tree.get("vars", ()):
            less = copy.deepcopy(states)
            del less[0].facts["levels"][level]["vars"][name]
            with pytest.raises(NotRestoredError, match=name):
                make(env_id, "in_process", 3).set_state(less)
            dropped += 1
    assert dropped > 10


@pytest.mark.parametrize("env_id", ["pgcli/Rich-v0", "pgcli/Opaque-v0"])
def test_no_array_can_be_left_out_or_added(env_id: str) -> None:
    packed = pack({}, after(env_id, "in_process", 27).get_state())
    assert len(packed) > 3
    for name in packed:
        less = {key: array for key, array in packed.items() if key != name}
        with pytest.raises(CheckpointError, match="lacks") as caught:
            unpack(less, "runs/x")
        assert name in caught.value.message
        assert caught.value.where == "runs/x"
    with pytest.raises(CheckpointError, match="but absent in its description"):
        unpack({**packed, "0/moon": np.zeros(1)}, "runs/x")
    name = next(iter(packed.keys() - {"json"}))
    with pytest.raises(CheckpointError, match=r"float16\[9\] in the checkpoint"):
        unpack({**packed, name: np.zeros(9, np.float16)}, "runs/x")


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b"\xff", b'{"facts": 1}'])
def test_what_is_no_state_is_refused(text: bytes) -> None:
    with pytest.raises(CheckpointError, match="not in the format of pgcli"):
        unpack({"json": np.frombuffer(text, np.uint8)}, "runs/x")


def test_state_of_another_environment_is_refused_with_both_sides() -> None:
    states = after("Pendulum-v1", "in_process", 3).get_state()
    with pytest.raises(CheckpointError, match=r"Pendulum.*CartPole"):
        make("CartPole-v1", "in_process", 3).set_state(states)
    with pytest.raises(CheckpointError, match=r"3 environments .* 2 are"):
        make("Pendulum-v1", "in_process", 2).set_state(states)
    with pytest.raises(CheckpointError, match="3 environments"):
        make("CartPole-v1", "native", 3).set_state(states)


@pytest.mark.parametrize("value", [7, {"moon": 1}, {"same": "0.X"}, {"array": "0.X"}])
def test_damaged_tree_is_refused(value: Any) -> None:
    states = after("CartPole-v1", "in_process", 3).get_state()
    states[0].facts["levels"][2]["vars"]["_np_random"] = value
    states[0].facts["levels"][2]["vars"]["state"] = value
    env = make("CartPole-v1", "in_process", 3)
    if value == 7:  # plain, though of another type: the environment's own matter
        states[0].facts["levels"] = value
    with pytest.raises(CheckpointError, match="is damaged"):
        env.set_state(states)


def test_state_that_the_environment_fails_to_give_is_none() -> None:
    class Failing(Walker):
        def get_state(self) -> Any:
            raise KeyError("wheel")

        def set_state(self, state: Any) -> None:
            raise KeyError("spoke")

    env = Failing()
    env.reset(seed=0)
    assert "get_state failed: KeyError: 'wheel'" in str(refusal([capture(env)]))
    Failing.get_state = lambda self: {"age": 1}  # type: ignore[method-assign]
    with pytest.raises(NotRestoredError, match="set_state failed: KeyError: 'spoke'"):
        reset_and_restore(env, capture(env), seed=0)


def test_what_is_shared_stays_shared() -> None:
    env = Rich()
    env.reset(seed=1)
    state = capture(env)
    again = Rich()
    reset_and_restore(again, state, seed=2)
    assert again.same is again.visits
    again.same[0, 1].append(5)
    assert again.visits[0, 1][-1] == 5
    assert again.grid.flags.f_contiguous


class Slotted:
    __slots__ = ("x",)


def closing_over(value: Any) -> Callable[[], Any]:
    return lambda: value


def spawning() -> np.random.Generator:
    generator = np.random.default_rng(1)
    generator.spawn(1)
    return generator


def sharing() -> list[np.ndarray]:
    whole = np.zeros(4)
    return [whole[:3], whole[2:]]


@pytest.mark.parametrize(
    "value",
    [
        threading.Lock(),
        (x for x in "ab"),
        {1, 2},
        Slotted(),
        [Walker()],
        object(),
        np.array([None]),
        np.zeros(3, "f4,i4"),
        np.zeros((4, 4))[::2, ::2],
        np.frombuffer(mmap.mmap(-1, 8), np.uint8),
        np.array([1, 2], ">i4"),
        closing_over([1]),
        closing_over(Walker()),
        np.random.default_rng(1).normal,
        spawning(),
        sharing(),
        np.zeros(2**24 + 1, bool),
        list(range(30_000)),
        10**5000,
        1j,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_plain_form_is_named(value: Any) -> None:
    env = Walker()
    env.reset(seed=0)
    assert refusal([capture(env)]) is None
    env.thing = value
    reason = refusal([capture(env)])
    assert reason is not None
    assert "0.Walker.thing" in reason


@pytest.mark.parametrize("value", [1.5, np.arange(3), "x", (1, None), np.float32(2)])
def test_function_must_refer_to_the_same_values(value: Any) -> None:
    env, again = Walker(), Walker()
    env.reset(seed=0)
    env.thing, again.thing = closing_over(value), closing_over(value)
    reset_and_restore(again, capture(env), seed=0)
    again.thing = closing_over(3)
    with pytest.raises(NotRestoredError, match=r"thing refers to other values"):
        reset_and_restore(again, capture(env), seed=0)


def test_wrappers_are_restored_too() -> None:
    def wrapped() -> Any:
        return NormalizeObservation(
            FrameStackObservation(gymnasium.make("CartPole-v1"), 3)
        )

    env, again = wrapped(), wrapped()
    env.reset(seed=3)
    for action in (0, 1, 1, 0):
        env.step(action)
    reset_and_restore(again, capture(env), seed=0)
    for action in (1, 0, 1):
        np.testing.assert_array_equal(env.step(action)[0], again.step(action)[0])


def test_episode_that_takes_another_course_is_not_restored() -> None:
    states = after("pgcli/Endless-v0", "in_process", 25).get_state()
    assert refusal(states) is None  # it has not been tried yet
    with pytest.raises(NotRestoredError, match="environment 0: its episode ended"):
        make("pgcli/Endless-v0", "in_process", 3).set_state(states)


def test_actions_are_recorded_only_where_they_are_needed() -> None:
    plain = after("pgcli/Rich-v0", "in_process", 25)
    opaque = after("pgcli/Opaque-v0", "in_process", 25)
    assert plain._recordings is None
    # episodes have 10 steps
    assert [record.steps for record in opaque._recordings] == [5, 5, 5]


def test_recording_of_a_long_episode_is_flat() -> None:
    env = Walker()
    env.reset(seed=0)
    record = Recording(begun=False)
    rows = np.zeros((8, 6), np.float32)
    for _ in range(1000):
        record.add(rows[3].copy())
    # 1,000 actions of 6 × 4 bytes; no object per step
    assert record.state(env, "").arrays["actions"].shape == (1000, 6)
    assert sys.getsizeof(record._actions) < 2 * 24_000
    for _ in range(MAX_BYTES // 24):
        record.add(rows[3])
    assert sys.getsizeof(record._actions) < 100
    assert "is too long" in str(refusal([record.state(env, "opaque")]))
    record.begin(env)
    record.add(1)
    assert record.state(env, "").arrays["actions"].tolist() == [1]


@pytest.mark.parametrize(
    "space",
    [
        gymnasium.spaces.Discrete(3),
        gymnasium.spaces.MultiBinary(3),
        gymnasium.spaces.MultiDiscrete([2, 3], np.int16),
        gymnasium.spaces.Box(-1, 1, (), np.float16),
        gymnasium.spaces.Box(-1, 1, (2,), np.float32),
        gymnasium.spaces.Dict(a=gymnasium.spaces.Tuple([gymnasium.spaces.Discrete(3)])),
    ],
)
def test_replayed_actions_are_those_of_the_space(space: gymnasium.Space) -> None:
    """Another dtype in a replay would end the next save."""

    class Seen(Walker):
        valid = True

        def __init__(self) -> None:
            super().__init__()
            self.action_space = space

        def move(self, action: Any) -> np.ndarray:
            self.valid = self.valid and space.contains(action)
            return super().move(int(sum(np.sum(x) for x in by_part(action).values())))

    def step(env: Seen, record: Recording) -> None:
        action = space.sample()
        record.last_obs = env.step(action)[0]
        record.add(action)

    env, again, record = Seen(), Seen(), Recording(begun=False)
    env.reset(seed=0)
    for _ in range(4):
        step(env, record)
    copied = replay(again, record.state(env, ""), again.reset(seed=0)[0])
    assert again.valid
    step(again, copied)
    stored = copied.state(again, "").arrays
    for path, part in by_part(space.sample()).items():
        actions = stored[f"actions/{path}" if path else "actions"]
        assert (len(actions), actions.dtype) == (5, np.asarray(part).dtype)


def test_environment_that_turns_opaque_is_recorded_from_its_next_reset() -> None:
    env = after("pgcli/Walker-v0", "in_process", 5)
    for one in env._envs:
        one.unwrapped.lock = threading.Lock()
    reason = refusal(env.get_state())
    assert reason is not None
    assert (
        "lock is a _thread.lock, and its episode was not recorded or is too long"
        in reason
    )
    digest_of_steps(env, 6, seed=3)  # the tenth step ends the episode
    assert refusal(env.get_state()) is None


def test_mujoco_model_that_was_edited_is_not_restored() -> None:
    pytest.importorskip("mujoco")
    env, again = (gymnasium.make("InvertedPendulum-v5") for _ in range(2))
    env.reset(seed=0)
    state = capture(env)
    reset_and_restore(again, state, seed=0)
    again.unwrapped.model.body_mass[1] *= 2
    with pytest.raises(NotRestoredError, match=r"model has SHA-256 .* it was edited"):
        reset_and_restore(again, state, seed=0)
    again.unwrapped.model.body_mass[1] /= 2
    again.unwrapped.model.opt.timestep *= 2
    with pytest.raises(NotRestoredError, match="it was edited"):
        reset_and_restore(again, state, seed=0)


def test_view_of_mujoco_memory_is_not_taken_for_an_array() -> None:
    pytest.importorskip("mujoco")
    env = gymnasium.make("InvertedPendulum-v5")
    env.reset(seed=0)
    env.unwrapped.here = env.unwrapped.data.qpos
    assert "here is a view" in str(refusal([capture(env)]))


@pytest.mark.parametrize("vectorizer", ["in_process", "native"])
def test_same_seeds_are_the_same_states(vectorizer: str) -> None:
    """Samples of the spaces are seeded as well."""
    a, b = (after("CartPole-v1", vectorizer, 5).get_state() for _ in range(2))
    assert_same_states(a, b)
    assert "space" in str(a[0].facts)


@pytest.mark.slow
def test_emulator_is_refused_with_the_reason() -> None:
    pytest.importorskip("ale_py")
    env = after("ALE/Pong-v5", "in_process", 5)
    assert "is incomplete" in str(refusal(env.get_state()))
