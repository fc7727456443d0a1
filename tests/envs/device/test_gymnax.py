"""`gymnax:` under our contract: kinds of ends, final observations, Gymnasium's."""

from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.toys import quick_jit

from pgcli.config.schema import EnvConfig
from pgcli.envs.base import DeviceEnv, Step
from pgcli.envs.make import make_device_env
from pgcli.errors import UsageError

pytest.importorskip("gymnax", reason="gymnax needs JAX below 0.12")


def play(env: DeviceEnv, action: Any, num_steps: int) -> tuple[Any, Step]:
    """(states, steps) of one environment that is never reset, [T, …]."""

    def one(state: Any, key: jax.Array) -> Any:
        state, step = env.step(key, state, action)
        return state, (state, step)

    @quick_jit
    def run(key: jax.Array) -> Any:
        state, _ = env.reset(key)
        return jax.lax.scan(one, state, jax.random.split(key, num_steps))[1]

    return jax.device_get(run(jax.random.key(0)))


def test_gymnax_time_limit_truncates_and_does_not_terminate() -> None:
    env = make_device_env(EnvConfig("gymnax:Pendulum-v1"))
    _, step = play(env, jnp.zeros(1), 200)
    assert env.spec.max_episode_steps == 200
    np.testing.assert_array_equal(step.truncated, np.arange(1, 201) == 200)
    assert not step.terminated.any()


def test_gymnax_fall_terminates_and_does_not_truncate() -> None:
    env = make_device_env(EnvConfig("gymnax:CartPole-v1"))
    states, step = play(env, jnp.int32(1), 12)
    # pushed one way, the pole passes 12° within a dozen steps
    np.testing.assert_array_equal(
        step.terminated, np.abs(states.theta) > 12 * 2 * np.pi / 360
    )
    assert step.terminated[-1]
    assert not step.truncated.any()


def test_gymnax_end_of_both_kinds_is_both() -> None:
    # the ball of Catch falls nine rows from the first of ten: step 9 is the last
    env = make_device_env(EnvConfig("gymnax:Catch-bsuite", max_episode_steps=9))
    _, step = play(env, jnp.int32(1), 9)
    np.testing.assert_array_equal(step.terminated, np.arange(1, 10) == 9)
    np.testing.assert_array_equal(step.truncated, np.arange(1, 10) == 9)


def test_gymnax_final_observation_is_of_the_final_state() -> None:
    env = make_device_env(EnvConfig("gymnax:CartPole-v1", max_episode_steps=3))
    states, step = play(env, jnp.int32(0), 3)
    assert step.truncated[-1]
    final = [states.x, states.x_dot, states.theta, states.theta_dot]
    np.testing.assert_array_equal(step.obs, np.stack(final, axis=-1))
    assert not np.array_equal(step.obs[-1], env.reset(jax.random.key(0))[1])


def test_gymnax_cartpole_is_gymnasiums_and_the_functional_one() -> None:
    rng = np.random.default_rng(0)
    # within bounds: gymnax pays for a step by where it began
    start = rng.uniform([-2.4, -3, -0.2, -3], [2.4, 3, 0.2, 3], (200, 4))
    start = start.astype(np.float32)
    action = rng.integers(0, 2, 200).astype(np.int32)
    gymnax = make_device_env(EnvConfig("gymnax:CartPole-v1"))
    func = make_device_env(EnvConfig("func:CartPole-v1"))
    fresh, _ = gymnax.reset(jax.random.key(0))

    def both(row: jax.Array, action: jax.Array) -> tuple[Step, Step]:
        key = jax.random.key(0)
        named = dict(zip(("x", "x_dot", "theta", "theta_dot"), row, strict=True))
        return (
            gymnax.step(key, fresh.replace(**named), action)[1],
            func.step(key, (row, jnp.int32(0)), action)[1],
        )

    ours, functional = jax.device_get(quick_jit(jax.vmap(both))(start, action))
    theirs = gymnasium.make("CartPole-v1", disable_env_checker=True).unwrapped
    theirs.reset(seed=0)
    for i in range(200):
        theirs.state, theirs.steps_beyond_terminated = start[i].astype(np.float64), None
        obs, reward, terminated, _, _ = theirs.step(int(action[i]))
        # one step in float32 from values of size 3
        assert np.abs(ours.obs[i] - obs).max() < 1e-5
        assert ours.reward[i] == reward
        assert ours.terminated[i] == terminated
    assert np.abs(ours.obs - functional.obs).max() < 1e-5
    np.testing.assert_array_equal(ours.reward, functional.reward)
    np.testing.assert_array_equal(ours.terminated, functional.terminated)
    assert 0 < ours.terminated.sum() < 200


def test_gymnax_pendulum_is_gymnasiums() -> None:
    rng = np.random.default_rng(0)
    start = rng.uniform([-np.pi, -8], [np.pi, 8], (200, 2)).astype(np.float32)
    action = rng.uniform(-2, 2, (200, 1)).astype(np.float32)
    gymnax = make_device_env(EnvConfig("gymnax:Pendulum-v1"))
    fresh, _ = gymnax.reset(jax.random.key(0))

    def ours_of(row: jax.Array, action: jax.Array) -> Step:
        state = fresh.replace(theta=row[0], theta_dot=row[1])
        return gymnax.step(jax.random.key(0), state, action)[1]

    ours = jax.device_get(quick_jit(jax.vmap(ours_of))(start, action))
    theirs = gymnasium.make("Pendulum-v1", disable_env_checker=True).unwrapped
    theirs.reset(seed=0)
    for i in range(200):
        theirs.state = start[i].astype(np.float64)
        obs, reward, terminated, _, _ = theirs.step(action[i])
        # one step in float32 from speeds up to 8, rewards down to -16
        assert np.abs(ours.obs[i] - obs).max() < 1e-5
        assert abs(ours.reward[i] - reward) < 1e-5
        assert ours.terminated[i] == terminated


def test_gymnax_takes_parameters_and_constructor_arguments() -> None:
    strong = make_device_env(EnvConfig("gymnax:CartPole-v1", kwargs={"force_mag": 30}))
    usual = make_device_env(EnvConfig("gymnax:CartPole-v1"))
    speeds = [play(e, jnp.int32(1), 1)[0].x_dot[0] for e in (strong, usual)]
    assert speeds[0] > 2 * speeds[1]
    wide = make_device_env(EnvConfig("gymnax:Catch-bsuite", kwargs={"columns": 7}))
    assert wide.spec.obs.shape == (10, 7)  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="wheels"):
        make_device_env(EnvConfig("gymnax:CartPole-v1", kwargs={"wheels": 3}))
