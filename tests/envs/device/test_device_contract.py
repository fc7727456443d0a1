"""What an on-device environment returns is believed or refused, never bent."""

from typing import Any

import jax
import numpy as np
import pytest
from cases import funcs
from cases.spaces import ACTIONS
from support.small_runs import config

from pgcli.envs.base import DeviceEnv, env_action, random_action
from pgcli.envs.device.contract import check_contract
from pgcli.envs.device.func_env import from_func_env
from pgcli.envs.device.user_functional import make_users
from pgcli.errors import EnvironmentFailed
from pgcli.training.loops.device_loop import DeviceLoop
from pgcli.training.members.device_members import DeviceMembers


def made(func: Any) -> DeviceEnv:
    return from_func_env("func:case", func, None, func.max_episode_steps)


@pytest.mark.parametrize("cls", funcs.REFUSED)
def test_what_breaks_the_contract_is_refused_before_training(
    cls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    envs = {"Case": cls}
    monkeypatch.setattr(
        "pgcli.envs.device.user_functional.functional_envs", lambda: envs
    )
    with pytest.raises(EnvironmentFailed) as caught:
        make_users("Case", {}, None)
    assert caught.value.message == funcs.REFUSED[cls]
    assert caught.value.where == "environment func:Case"
    assert caught.value.help


def test_what_keeps_the_contract_passes() -> None:
    for func in (funcs.Plain(), funcs.Big(), funcs.Beyond()):
        check_contract(made(func))


@pytest.mark.parametrize("action", ACTIONS)
def test_actions_are_as_from_sample_at_the_width_of_jax(action: str) -> None:
    env = made(funcs.Actions(ACTIONS[action]))

    def pay(key: Any) -> Any:
        state, _ = env.reset(key)
        drawn = random_action(env.spec.action, (), np.random.default_rng(0))
        return env.step(key, state, env_action(env.spec.action, drawn))[1].reward

    assert jax.eval_shape(pay, jax.random.key(0)).shape == ()
    assert pay(jax.random.key(0)) == 1


def test_category_beyond_its_space_ends_training_on_the_device() -> None:
    loop = DeviceLoop(config("func:CartPole-v1"), made(funcs.Big()))
    words = "observation of environment 0 is outside its space at step 2 of the rollout"
    with pytest.raises(EnvironmentFailed, match=words) as caught:
        loop.advance(1, 1.0)
    assert caught.value.where == "environment func:case"


def test_category_beyond_its_space_ends_an_evaluation_on_the_device() -> None:
    loop = DeviceLoop(config("func:CartPole-v1"), made(funcs.Big()))
    words = "observation of environment 0 is outside its space at step 2 of the eval"
    with pytest.raises(EnvironmentFailed, match=words):
        loop.evaluate(4, "selection", 0)


def test_values_beyond_their_bounds_are_warned_of_once_on_the_device() -> None:
    loop = DeviceLoop(config("func:CartPole-v1"), made(funcs.Beyond()))
    loop.advance(1, 1.0)
    # of 8 steps, those after 4 and 5 of the first episode of 6 are acted on
    assert loop.news() == [
        "observations leave their space: 7 is not in [-1, 0.5], in 25 % of the steps "
        "of iteration 1; training uses them as they are: correct observation_space, or "
        "clip the observation"
    ]
    loop.advance(33, 1.0)
    assert loop.news() == []


@pytest.mark.slow
def test_members_on_the_device_warn_once_too() -> None:
    cfg = config("func:CartPole-v1", "seeds=2")
    loop = DeviceMembers(cfg, made(funcs.Beyond()))
    loop.advance(65, 1.0)
    (warning,) = loop.news()
    assert "7 is not in [-1, 0.5], in 25 % of the steps" in warning
