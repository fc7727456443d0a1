"""What an on-device environment returns is believed or refused, never bent."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import funcs
from cases.spaces import ACTIONS, OBS
from gymnasium import spaces
from support.small_runs import config

from pgcli.envs.actions import env_action, random_action
from pgcli.envs.base import DeviceEnv, Step
from pgcli.envs.device.contract import check_contract
from pgcli.envs.device.func_env import from_func_env
from pgcli.envs.device.user_functional import make_users
from pgcli.envs.spaces import make_spec
from pgcli.errors import EnvironmentFailed
from pgcli.rollout.bounds import BoundsWarning
from pgcli.training.evaluation.chance import NO_AGENT, chance_policy
from pgcli.training.evaluation.device import DeviceEvaluator
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
        "of iteration 1; they are used as they are: correct observation_space, or "
        "clip the observation"
    ]
    loop.advance(33, 1.0)
    assert loop.news() == []


def test_an_evaluation_on_the_device_warns_of_bounds_once() -> None:
    loop = DeviceLoop(config("func:CartPole-v1"), made(funcs.Beyond()))
    loop.evaluate(4, "selection", 0)
    # of 6 observations that are acted on, the last two
    (warning,) = loop.news()
    assert "7 is not in [-1, 0.5], in 33.3 % of the steps of the eval" in warning
    loop.evaluate(4, "reporting", 0)
    assert loop.news() == []


FINE_THEN_OUTSIDE: dict[str, tuple[Any, str]] = {
    "floats": ([0, 100], "observations leave their space: 100 is not in [-1, 1]"),
    "integers": ([0, 2**41], "2.19902e+12 is not in [0, 1.09951e+12]"),
    "parts": ({"a": [0, -7], "b": 1}, "observations `a` leave their space: -7 is not"),
    "discrete": (4, "observation of environment 0 is outside its space at step 1"),
    "choices": ([2, 9], "observation of environment 0 is outside its space at step 1"),
    "bits": ([2, 0], "observation of environment 0 is outside its space at step 1"),
}


@pytest.mark.parametrize("kind", FINE_THEN_OUTSIDE)
def test_evaluation_on_the_device_says_what_is_outside(kind: str) -> None:
    """Every kind of space; a fourth of the steps act on the value outside."""
    bad, words = FINE_THEN_OUTSIDE[kind]
    space, good = OBS[kind]
    spec = make_spec("x", space, spaces.Discrete(2), 4)

    def at(t: Any) -> Any:
        def part(space: Any, bad: Any, good: Any) -> Any:
            value = jnp.where(t == 2, np.float32(bad), np.float32(good))
            return value.astype(space.dtype)

        if isinstance(spec.obs, dict):
            return {name: part(spec.obs[name], bad[name], good[name]) for name in good}
        return part(spec.obs, bad, good)

    def step(key: Any, t: Any, action: Any) -> Any:
        flags = jnp.array(False), t + 1 == 4
        return t + 1, Step(at(t + 1), jnp.float32(1), *flags)

    env = DeviceEnv(spec, lambda key: (jnp.int32(0), at(0)), step)
    player = DeviceEvaluator(env, chance_policy(spec, "zero"), 3, True)
    if "step 1" in words:
        with pytest.raises(EnvironmentFailed, match=words):
            player.play(NO_AGENT, jax.random.key(0), 0)
        return
    player.play(NO_AGENT, jax.random.key(0), 0)
    (warning,) = BoundsWarning(spec.obs).news(player.outside, None)
    assert words in warning
    assert "in 25 % of the steps of the evaluation" in warning


@pytest.mark.slow
def test_members_on_the_device_warn_once_too() -> None:
    cfg = config("func:CartPole-v1", "seeds=2")
    loop = DeviceMembers(cfg, made(funcs.Beyond()))
    loop.advance(65, 1.0)
    (warning,) = loop.news()
    assert "7 is not in [-1, 0.5], in 25 % of the steps" in warning
    loop = DeviceMembers(cfg, made(funcs.Beyond()))
    loop.evaluate(4, "selection", 0)
    (warning,) = loop.news()
    assert "in 33.3 % of the steps of the evaluation" in warning
