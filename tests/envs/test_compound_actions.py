"""Dict and Tuple actions: the environment gets its own structure, dtypes and starts."""

import json
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium import spaces
from support.hybrid import action_space

from pgcli.envs import user_modules
from pgcli.envs.actions import env_action, host_action, random_action, row
from pgcli.envs.base import EnvSpec, HostSlot
from pgcli.envs.device.as_gymnasium import AsGymnasium
from pgcli.envs.device.user_functional import make_users
from pgcli.envs.host.native_vector import NativeVector
from pgcli.envs.spaces import (
    action_to_gymnasium,
    make_spec,
    spec_from_json,
    spec_to_json,
)

OBS = spaces.Box(-1, 1, (4,))
SPEC = make_spec("toy", OBS, action_space(), None)
ACTIONS = {
    "gear": np.int32([0, 2]),
    "hand/0": np.float32([[0.5], [-7.0]]),
    "hand/1": np.int32([[0, 1], [1, 1]]),
}


def test_environment_gets_its_own_dict_and_tuple() -> None:
    whole = host_action(SPEC, ACTIONS)
    assert whole["gear"].tolist() == [1, 3]  # counted from its start
    aim, switches = whole["hand"]
    assert (aim.dtype, switches.dtype) == (np.float32, np.int8)
    second = row(whole, 1)
    assert second["hand"][0] == -1  # clipped
    assert isinstance(second["hand"], tuple)
    for n in range(2):
        assert action_space().contains(row(whole, n))


@pytest.mark.parametrize(
    "space",
    [
        action_space(),
        spaces.Tuple([spaces.Discrete(2), spaces.Dict(a=spaces.MultiDiscrete([2, 3]))]),
        spaces.Dict(a=spaces.Tuple([spaces.Tuple([spaces.Box(0, 1, (), np.float64)])])),
    ],
)
def test_structure_survives_json_and_becomes_the_space_again(space: Any) -> None:
    spec = make_spec("toy", OBS, space, 5)
    stored = spec_from_json(json.loads(json.dumps(spec_to_json(spec))))
    assert stored == spec
    generator = np.random.default_rng(0)
    drawn = host_action(stored, random_action(stored.action, (3,), generator))
    own = action_to_gymnasium(stored)
    assert jax.tree.structure(row(drawn, 0)) == jax.tree.structure(space.sample())
    assert space.contains(row(drawn, 2))
    assert jax.tree.structure(own.sample()) == jax.tree.structure(space.sample())


class Vector(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """Two of them, which compare a batch of actions with their space."""

    num_envs, metadata = 2, {"autoreset_mode": "SameStep"}
    single_observation_space, single_action_space = OBS, action_space()
    action_space = gymnasium.vector.utils.batch_space(action_space(), 2)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return np.zeros((2, 4), np.float32), {}

    def step(self, actions: Any) -> Any:
        assert isinstance(actions["hand"], tuple)
        assert actions["hand"][1].tolist() == [[0, 1], [1, 1]]
        none, obs = np.zeros(2, bool), np.zeros((2, 4), np.float32)
        return obs, actions["gear"].astype(float), none, none, {}


def test_native_vector_gets_a_batch_in_its_structure() -> None:
    env = NativeVector(Vector(), [0, 1], "toy", None)
    slot = HostSlot(np.zeros((2, 4), np.float32), np.zeros(2), *np.zeros((4, 2), bool))
    env.reset(slot.obs)
    env.step(ACTIONS, slot)
    assert slot.reward.tolist() == [1, 3]


def test_device_environment_gets_its_structure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_modules, "NAMED", [])
    user_modules.use(["support.hybrid"])
    env = make_users("HybridFunctional", {}, None)
    # its reward asserts structure and dtypes while it is traced
    state, _ = env.reset(jax.random.key(0))
    one = env_action(env.spec.action, jax.tree.map(lambda x: x[0], ACTIONS))
    _, step = jax.jit(env.step)(jax.random.key(1), state, one)
    assert 0 <= step.reward <= 1
    whole = AsGymnasium(env)
    whole.reset(seed=0)
    taken = whole.action_space.sample()
    assert action_space().contains(taken)
    assert 0 <= whole.step(taken)[1] <= 1


def test_spec_without_a_structure_is_that_of_an_older_version() -> None:
    plain = make_spec("toy", OBS, spaces.Discrete(2), None)
    stored = spec_to_json(plain)
    del stored["action_structure"]
    assert spec_from_json(stored) == plain == EnvSpec(*plain.__dict__.values())
