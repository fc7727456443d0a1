"""Configured wrappers, and observations of several parts."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from support.user_module import Lamps, Rooms

from pgcli.config.schema import EnvConfig
from pgcli.envs.actions import env_action
from pgcli.envs.base import Box, Discrete, MultiBinary, MultiDiscrete
from pgcli.envs.host.env_factory import env_factory
from pgcli.envs.host.in_process import InProcess
from pgcli.envs.host.wrappers import NamedParts, with_parts
from pgcli.envs.obs_trees import empty_obs
from pgcli.envs.spaces import from_gymnasium, spec_from_json, spec_to_json
from pgcli.envs.state.value_kinds import name_of
from pgcli.errors import EnvironmentFailed, UsageError


def made(env_id: str = "CartPole-v1", *wrappers: Any, **config: Any) -> Any:
    return env_factory(EnvConfig(env_id, wrappers=wrappers, **config))()


def test_wrappers_are_applied_from_the_first_on() -> None:
    stack = {"FrameStackObservation": {"stack_size": 3}}
    # 4 numbers and the time, three times; then flat
    env = made("CartPole-v1", "TimeAwareObservation", stack, "FlattenObservation")
    assert env.observation_space.shape == (15,)
    # the time last: two frames of padding and one of now
    env = made("CartPole-v1", stack, "TimeAwareObservation")
    assert env.observation_space.shape == (13,)
    assert env.spec.max_episode_steps == 500


def test_wrappers_of_actions_reach_the_environment() -> None:
    env = made("Pendulum-v1", {"RescaleAction": {"min_action": -1, "max_action": 1}})
    assert env.action_space.high == 1
    assert env.unwrapped.action_space.high == 2


@pytest.mark.parametrize(
    ("env_id", "wrapper", "message"),
    [
        ("CartPole-v1", {"RescaleAction": {"min_action": -1, "max_action": 1}}, "fit"),
        ("CartPole-v1", {"GrayscaleObservation": {}}, "fit"),
        ("CartPole-v1", {"FilterObservation": {"filter_keys": ["a"]}}, "fit"),
    ],
)
def test_wrappers_that_do_not_fit_the_environment_are_named(
    env_id: str, wrapper: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(wrapper))} does not {message}"):
        made(env_id, wrapper)


def test_device_environments_take_no_wrappers() -> None:
    from pgcli.envs.make import make_device_env

    with pytest.raises(UsageError, match="runs on the device"):
        make_device_env(EnvConfig("func:CartPole-v1", wrappers=("X",)))


def test_minigrid_is_its_image_unless_the_configuration_says_otherwise() -> None:
    pytest.importorskip("minigrid")
    env_id = "MiniGrid-Empty-5x5-v0"
    assert env_factory(EnvConfig(env_id))().observation_space.shape == (7, 7, 3)
    flat = made(env_id, "FlatObsWrapper").observation_space
    assert len(flat.shape) == 1
    bare = made(env_id).observation_space
    with pytest.raises(EnvironmentFailed, match=r"MissionSpace \(`mission`\)"):
        from_gymnasium(bare, env_id)
    keys = {"FilterObservation": {"filter_keys": ["image", "direction"]}}
    kept = made(env_id, keys).observation_space
    assert from_gymnasium(kept, env_id)["direction"] == Discrete(4)
    chosen = env_factory(EnvConfig(env_id, obs_keys=("direction", "image")))()
    assert from_gymnasium(chosen.observation_space, env_id).keys() == kept.keys()


def test_compound_observations_are_named_by_their_paths() -> None:
    env = NamedParts(Rooms())
    space = from_gymnasium(env.observation_space, "Rooms-v0")
    assert space == {
        "0": Discrete(4),
        "1/gear": MultiDiscrete((2,), (2, 3), (0, 0)),
        "1/turn": Box((2,), "float32", -1.0, 1.0),
        "2": MultiBinary((2,)),
    }
    obs, _ = env.reset(seed=0)
    assert env.observation_space.contains(obs)
    np.testing.assert_array_equal(obs["1/gear"], [1, 2])


def test_obs_keys_choose_parts_and_all_parts_of_a_part() -> None:
    env = with_parts(Rooms(), "Rooms-v0", ["1", "0"])
    assert list(env.observation_space) == ["0", "1/gear", "1/turn"]
    obs, _ = env.reset(seed=0)
    assert env.observation_space.contains(obs)
    assert list(with_parts(Rooms(), "", ["1/turn"]).observation_space) == ["1/turn"]
    with pytest.raises(UsageError, match="no part `1/tun`") as raised:
        with_parts(Rooms(), "Rooms-v0", ["1/tun"])
    assert "did you mean `1/turn`?" in str(raised.value.help)
    with pytest.raises(UsageError, match="neither a Dict nor a Tuple"):
        env_factory(EnvConfig("CartPole-v1", obs_keys=("x",)))()


def test_named_parts_add_no_state_that_older_checkpoints_lack() -> None:
    class Older(gymnasium.ObservationWrapper, gymnasium.utils.RecordConstructorArgs):
        def __init__(self, env: Any) -> None:
            gymnasium.utils.RecordConstructorArgs.__init__(self)
            gymnasium.ObservationWrapper.__init__(self, env)
            self.observation_space = env.observation_space

    older, named = vars(Older(Rooms())), vars(NamedParts(Rooms()))
    assert named.keys() == older.keys()
    assert named["_saved_kwargs"] == older["_saved_kwargs"] == {}


def played(env: Any, action: Any) -> tuple[Any, Any]:
    """(specification, slot) after one step of one environment by our vectoriser."""
    from pgcli.envs.base import HostSlot

    host = InProcess([env], [0], "One-v0")
    obs = empty_obs(host.spec.obs, (1,))
    host.reset(obs)
    flags = np.zeros((4, 1), bool)
    slot = HostSlot(obs, np.zeros(1, np.float32), *flags)
    host.step(action, slot)
    return host.spec, slot


def test_vectorizer_steps_choices_counted_from_their_start() -> None:
    # the second choice begins at 5: the environment refuses what it does not contain
    hand = {"hand/0": np.float32([[3]]), "hand/1": np.int32([1])}
    action = {"door": np.int32([[1, 2]]), **hand}
    spec, slot = played(NamedParts(Rooms()), action)
    assert spec.action["door"] == MultiDiscrete((2,), (2, 3), (0, 5))
    assert spec.action["hand/1"] == Discrete(2, -1)
    assert spec.action_structure == {"door": "door", "hand": ["hand/0", "hand/1"]}
    assert slot.reward[0] == 1
    assert slot.obs["0"][0] == 1


def test_vectorizer_steps_bits_and_numbers_without_axes() -> None:
    spec, slot = played(Lamps(), np.int32([[1, 0, 1, 1]]))
    assert spec.action == MultiBinary((2, 2))
    assert spec.obs == Box((), "float32", -1.0, 1.0)
    assert slot.reward[0] == 3
    assert slot.obs.dtype == np.float32


class Dial(gymnasium.Env[Any, Any]):
    """A scalar action that must nevertheless be an array."""

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Box(0.0, 0.1, (), np.float64)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        inside = isinstance(action, np.ndarray) and self.action_space.contains(action)
        return np.zeros(1, np.float32), float(inside), False, False, {}


@pytest.mark.parametrize("action", [-3.0, 0.05, 3.0])
def test_vectorizer_gives_an_action_without_axes_inside_its_bounds(
    action: float,
) -> None:
    # 0.1 in float32 is above 0.1 in float64: the bound is rounded into the space
    _, slot = played(Dial(), np.float32([[action]]))
    assert slot.reward[0] == 1


def test_named_parts_keep_the_name_that_checkpoints_have() -> None:
    assert name_of(NamedParts) == "pgcli.envs.wrap.NamedParts"


@pytest.mark.parametrize("env", [NamedParts(Rooms()), Lamps(), Dial()])
def test_specification_survives_being_stored(env: Any) -> None:
    spec = InProcess([env], [0], "One-v0").spec
    assert spec_from_json(spec_to_json(spec)) == spec


def test_env_action_is_the_same_for_one_and_for_a_batch() -> None:
    space = MultiDiscrete((2, 2), (2, 3, 4, 5), (0, 1, 2, 3))
    batch = np.int32([[0, 1, 2, 3], [1, 2, 3, 4]])
    shaped = env_action(space, batch)
    np.testing.assert_array_equal(shaped[1], [[1, 3], [5, 7]])
    np.testing.assert_array_equal(env_action(space, batch[1]), shaped[1])
