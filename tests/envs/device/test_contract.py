"""The contract of all on-device environments; `func:` equals Gymnasium's."""

from collections.abc import Callable
from functools import cache
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.toys import quick_jit

from pgcli.config.schema import EnvConfig
from pgcli.envs.actions import env_action
from pgcli.envs.base import Box, DeviceEnv, Discrete, Step
from pgcli.envs.make import make_device_env
from pgcli.envs.registry import DEVICE_BACKENDS
from pgcli.nn.policy import Policy
from pgcli.rollout.device_collector import begin, env_keys, step_and_reset

# Each compiles for seconds; kinds of action, observation and end are among these.
BY_DEFAULT = {
    "func:CartPole-v1",
    "func:Pendulum-v1",
    "gymnax:CartPole-v1",
    "gymnax:Breakout-MinAtar",
}
# Physics compiles for tens of seconds; all of a library's have one adapter.
SAMPLES = {"brax": ["inverted_pendulum"], "playground": ["CartpoleBalance"]}
IDS = [
    f"{prefix}:{name}"
    for prefix, backend in DEVICE_BACKENDS.items()
    if backend.installed
    for name in SAMPLES.get(prefix) or backend.names()
]
every_env = pytest.mark.parametrize(
    "env_id",
    [
        pytest.param(id, marks=() if id in BY_DEFAULT else pytest.mark.slow)
        for id in IDS
    ],
)
NUM_ENVS = 4


def random_action(env: DeviceEnv, key: jax.Array) -> jax.Array:
    if isinstance(env.spec.action, Discrete):
        return jax.random.randint(key, (NUM_ENVS,), 0, env.spec.action.n)
    size = int(np.prod(env.spec.action.shape))
    return 3 * jax.random.normal(key, (NUM_ENVS, size))


@cache
def played(env_id: str, limit: int | None = None) -> tuple[DeviceEnv, Any, Step]:
    """(environment, observations before, steps) of 64 random steps, [T, N, …]."""
    env = make_device_env(EnvConfig(env_id, max_episode_steps=limit))

    def one(carry: Any, key: jax.Array) -> Any:
        state, obs = carry
        action_key, step_key = jax.random.split(key)
        action = random_action(env, action_key)
        state, after, step = step_and_reset(env, step_key, state, action)
        return (state, after), (obs, step)

    @quick_jit
    def run(key: jax.Array) -> Any:
        first = jax.vmap(env.reset)(env_keys(key, NUM_ENVS))
        return jax.lax.scan(one, first, jax.random.split(key, 64))[1]

    return env, *jax.device_get(run(jax.random.key(0)))


LEAVE_THEIR_BOUNDS = {"gymnax:MetaMaze-misc"}
"""Environments whose library declares bounds that its observations leave."""


def inside(
    space: Any, values: Any, batch: tuple[int, ...], bounds: bool = True
) -> bool:
    if isinstance(space, Box):
        assert values.shape == (*batch, *space.shape)
        assert values.dtype == space.dtype
        low, high = space.bounds() if bounds else (-np.inf, np.inf)
        return bool((values >= low).all() and (values <= high).all())
    if isinstance(space, Discrete):
        values = values - space.start
        return values.shape == batch and bool(
            ((values >= 0) & (values < space.n)).all()
        )
    return all(inside(part, values[name], batch) for name, part in space.items())


@every_env
def test_device_env_keeps_its_spec_under_jit_and_vmap(env_id: str) -> None:
    env, obs, step = played(env_id)
    assert env.spec.id == env_id
    bounds = env_id not in LEAVE_THEIR_BOUNDS
    assert inside(env.spec.obs, obs, (64, NUM_ENVS), bounds)
    assert inside(env.spec.obs, step.obs, (64, NUM_ENVS), bounds)
    assert step.reward.dtype == np.float32
    assert step.terminated.dtype == step.truncated.dtype == bool
    for field in (step.reward, step.terminated, step.truncated):
        assert field.shape == (64, NUM_ENVS)
    assert np.isfinite(step.reward).all()


@every_env
def test_device_env_truncates_at_its_limit_and_not_before(env_id: str) -> None:
    # a collector's buffer of final observations has room for time limits only
    env, _, step = played(env_id, limit=9)
    assert env.spec.max_episode_steps == 9
    elapsed = np.zeros(NUM_ENVS, int)
    for t in range(64):
        elapsed += 1
        np.testing.assert_array_equal(step.truncated[t], elapsed == 9)
        elapsed[step.truncated[t] | step.terminated[t]] = 0


@pytest.mark.parametrize(
    "env_id",
    [id for id in sorted(BY_DEFAULT) if id in IDS and "Pole" in id]
    + ["func:Pendulum-v1"],
)
def test_device_env_begins_differently_for_every_key(env_id: str) -> None:
    env = make_device_env(EnvConfig(env_id))
    keys = jax.random.split(jax.random.key(1), 8)
    _, obs = quick_jit(jax.vmap(env.reset))(keys)
    rows = np.asarray(jax.tree.leaves(obs)[0]).reshape(8, -1)
    assert len(np.unique(rows, axis=0)) == 8


@every_env
def test_device_env_does_not_depend_on_how_many_run_beside_it(env_id: str) -> None:
    env = make_device_env(EnvConfig(env_id))
    idle = Policy(lambda key: (), lambda num_envs: (), lambda *args: ((), None, None))
    key = jax.random.key(2)
    four = quick_jit(lambda k: begin(env, idle, k, 4))(key)
    two = quick_jit(lambda k: begin(env, idle, k, 2))(key)
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x[:2], y), four, two)


@every_env
def test_a_first_state_has_the_types_of_later_ones(env_id: str) -> None:
    env = make_device_env(EnvConfig(env_id))
    idle = Policy(lambda key: (), lambda num_envs: (), lambda *args: ((), None, None))
    first = jax.eval_shape(lambda key: begin(env, idle, key, 2), jax.random.key(0))
    # a weak type would be gone after a rollout, and training would compile twice
    assert not any(x.weak_type for x in jax.tree.leaves(first))


def test_registered_limits_of_the_functional_environments() -> None:
    for env_id, limit in (("func:CartPole-v1", 500), ("func:Pendulum-v1", 200)):
        assert make_device_env(EnvConfig(env_id)).spec.max_episode_steps == limit


def cartpole_states(rng: np.random.Generator) -> np.ndarray:
    """States, some of them about to fall or beyond the edge."""
    return rng.uniform([-2.5, -3, -0.25, -3], [2.5, 3, 0.25, 3], (200, 4))


def pendulum_states(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform([-np.pi, -8], [np.pi, 8], (200, 2))


def deviation(
    name: str, states: Callable[[np.random.Generator], np.ndarray], **kwargs: float
) -> dict[str, float]:
    """The largest difference from Gymnasium's environment over 200 single steps."""
    rng = np.random.default_rng(0)
    theirs = gymnasium.make(name, disable_env_checker=True).unwrapped
    theirs.reset(seed=0)
    ours = make_device_env(EnvConfig(f"func:{name}", kwargs=kwargs))
    start = states(rng).astype(np.float32)
    discrete = isinstance(ours.spec.action, Discrete)
    action = (
        rng.integers(0, 2, 200).astype(np.int32)
        if discrete
        else rng.uniform(-3, 3, (200, 1)).astype(np.float32)
    )

    def one(state: jax.Array, action: jax.Array) -> Step:
        clipped = env_action(ours.spec.action, action)
        return ours.step(jax.random.key(0), (state, jnp.int32(0)), clipped)[1]

    found = jax.device_get(quick_jit(jax.vmap(one))(start, action))
    outcome = {"obs": 0.0, "reward": 0.0, "terminated": 0.0}
    for i in range(200):
        theirs.state = start[i].astype(np.float64)
        if hasattr(theirs, "steps_beyond_terminated"):
            theirs.steps_beyond_terminated = None
        obs, reward, terminated, _, _ = theirs.step(
            int(action[i]) if discrete else action[i]
        )
        for key, exact in (
            ("obs", obs),
            ("reward", reward),
            ("terminated", terminated),
        ):
            gap = np.abs(np.float64(getattr(found, key)[i]) - exact).max()
            outcome[key] = max(outcome[key], float(gap))
    return outcome


def test_func_cartpole_is_gymnasiums() -> None:
    found = deviation("CartPole-v1", cartpole_states)
    assert found["obs"] < 1e-6
    assert found["reward"] == 0
    assert found["terminated"] == 0


def test_func_cartpole_with_the_shipped_constant_is_not() -> None:
    # 0.6 is 0.1 + 0.5, mass plus length: the same comparison sees the correction
    found = deviation("CartPole-v1", cartpole_states, polemass_length=0.6)
    assert found["obs"] > 1e-2


def test_func_pendulum_is_gymnasiums() -> None:
    found = deviation("Pendulum-v1", pendulum_states)
    assert found["obs"] < 1e-6
    # rewards reach −16, where float32 has steps of 1e-6
    assert found["reward"] < 4e-6
    assert found["terminated"] == 0
