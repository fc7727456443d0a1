"""Functions shared by the adapters, on fake libraries: time limit, dtypes, Brax."""

import sys
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from support.toys import CONTINUOUS, FLAT, quick_jit

from pgcli.envs.base import Box, DeviceEnv, EnvSpec, Step
from pgcli.envs.device.adapter_support import (
    from_reset_and_step,
    quietly,
    with_time_limit,
)
from pgcli.envs.device.brax import from_brax
from pgcli.errors import UsageError
from pgcli.rollout.device_collector import step_and_reset


class BraxState(struct.PyTreeNode):
    obs: Any
    reward: Any
    done: Any
    info: Any


class Pole:
    """An environment with Brax's protocol: actions move it, and it falls at a place.

    Its types are as loose as Brax's: the reward is a Python float, `done` is a float,
    and the state has a key.
    """

    action_size = 1

    def __init__(self, *, several: bool = False, falls_at: float = 2.5) -> None:
        self._several, self._falls_at = several, falls_at

    def _observe(self, place: Any) -> Any:
        pair = jnp.stack([place, -place])
        return (
            {"state": pair, "privileged_state": place[None]}
            if self._several
            else (pair)
        )

    def reset(self, key: Any) -> BraxState:
        place = jnp.float32(0)
        info = {"key": key, "place": place}
        return BraxState(self._observe(place), 0.0, jnp.zeros(()), info)

    def step(self, state: BraxState, action: Any) -> BraxState:
        key, _ = jax.random.split(state.info["key"])
        place = state.info["place"] + action[0]
        return state.replace(
            obs=self._observe(place),
            reward=1.0,
            done=jnp.where(place > self._falls_at, 1.0, 0.0),
            info={"key": key, "place": place},
        )


def pole(
    limit: int | None = None, repeat: int = 1, length: int = 10, **kwargs: Any
) -> DeviceEnv:
    return from_brax("toy:pole", Pole(**kwargs), length, repeat, limit)


def play(env: DeviceEnv, action: float, num_steps: int) -> Step:
    """Steps [T] of one environment that is never reset."""

    def one(state: Any, key: jax.Array) -> Any:
        return env.step(key, state, jnp.full(1, action))

    @quick_jit
    def run(key: jax.Array) -> Any:
        state, _ = env.reset(key)
        return jax.lax.scan(one, state, jax.random.split(key, num_steps))[1]

    found: Step = jax.device_get(run(jax.random.key(0)))
    return found


def test_brax_done_terminates_and_does_not_truncate() -> None:
    step = play(pole(), 1.0, 4)
    assert step.terminated.dtype == bool
    np.testing.assert_array_equal(step.terminated, [False, False, True, True])
    assert not step.truncated.any()


def test_brax_time_limit_truncates_and_does_not_terminate() -> None:
    step = play(pole(), 0.1, 10)
    assert pole().spec.max_episode_steps == 10
    np.testing.assert_array_equal(step.truncated, np.arange(1, 11) == 10)
    assert not step.terminated.any()
    # the observation that followed the last action, and no reset's
    np.testing.assert_allclose(step.obs[-1], [1.0, -1.0], atol=1e-6)


def test_brax_policy_sees_state_alone_where_there_are_several_observations() -> None:
    env = pole(several=True)
    assert env.spec.obs == Box((2,), "float32", -np.inf, np.inf)
    np.testing.assert_array_equal(play(env, 1.0, 1).obs, [[1.0, -1.0]])


def test_brax_observations_without_state_stay_a_mapping() -> None:
    class Pictures(Pole):
        def _observe(self, place: Any) -> Any:
            return {"left": place[None], "right": -place[None]}

    env = from_brax("toy:pole", Pictures(), 10, 1, None)
    assert isinstance(env.spec.obs, Mapping)
    assert set(env.spec.obs) == {"left", "right"}
    np.testing.assert_array_equal(play(env, 1.0, 1).obs["right"], [[-1.0]])


def test_brax_action_repeat_adds_rewards_up_to_the_end() -> None:
    env = pole(repeat=2)
    assert env.spec.max_episode_steps == 5  # 10 of its own steps
    # it falls at its third step, the first half of our second one
    step = play(env, 1.0, 2)
    np.testing.assert_array_equal(step.reward, [2.0, 1.0])
    np.testing.assert_array_equal(step.terminated, [False, True])
    assert pole(repeat=4).spec.max_episode_steps == 3  # 10/4, rounded up
    assert pole(repeat=4, limit=9).spec.max_episode_steps == 9


@pytest.mark.parametrize("repeat", [0, 1.5, "2"])
def test_brax_action_repeat_that_is_no_number_of_steps_is_refused(repeat: Any) -> None:
    with pytest.raises(UsageError, match="action_repeat"):
        pole(repeat=repeat)


def test_foreign_state_is_reset_whole_where_an_episode_ended() -> None:
    env = pole(limit=3)

    @quick_jit
    def run(key: jax.Array) -> Any:
        state, _ = jax.vmap(env.reset)(jax.random.split(key, 2))
        seen = []
        for _ in range(3):  # the second moves too little to fall
            action = jnp.array([[0.9], [0.1]])
            state, obs, step = step_and_reset(env, key, state, action)
            seen.append((obs, step))
        return state, seen

    (state, elapsed), seen = jax.device_get(run(jax.random.key(0)))
    obs, step = seen[-1]
    np.testing.assert_array_equal(step.terminated, [True, False])
    np.testing.assert_array_equal(step.truncated, [True, True])
    np.testing.assert_allclose(step.obs[:, 0], [2.7, 0.3], atol=1e-6)
    np.testing.assert_array_equal(obs, np.zeros((2, 2)))
    np.testing.assert_array_equal(state.info["place"], [0, 0])
    np.testing.assert_array_equal(elapsed, [0, 0])


def test_foreign_environments_claim_that_only_their_limit_cuts() -> None:
    assert pole().cuts_at_limit_only


def test_time_limit_counts_the_steps_of_an_episode() -> None:
    reset, step = with_time_limit(
        3,
        lambda key: (jnp.float32(0), jnp.zeros(2)),
        lambda key, state, action: (state + 1, jnp.zeros(2), 0.0, state >= 4),
    )
    spec = EnvSpec("toy:count", FLAT, CONTINUOUS, 3)
    found = play(from_reset_and_step(spec, reset, step), 0.0, 5)
    np.testing.assert_array_equal(found.truncated, [False, False, True, True, True])
    np.testing.assert_array_equal(found.terminated, [False] * 4 + [True])


def test_quietly_drops_talk_and_keeps_errors(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def chatter() -> None:
        print("Failed to import warp")  # noqa: T201
        print("and on stderr", file=sys.stderr)  # noqa: T201
        warnings.warn("not maintained", UserWarning, stacklevel=2)

    with quietly():
        chatter()
    assert capsys.readouterr() == ("", "")
    with pytest.raises(ValueError, match="no such"), quietly():
        raise ValueError("no such")
    with pytest.warns(UserWarning, match="not maintained"):
        chatter()
    assert capsys.readouterr() == ("Failed to import warp\n", "and on stderr\n")
