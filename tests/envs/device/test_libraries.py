"""The on-device libraries under our contract; skipped if a library is missing."""

import subprocess
import sys
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.toys import quick_jit

from pgcli.config.schema import EnvConfig
from pgcli.envs import registry
from pgcli.envs.base import Box, DeviceEnv, Step
from pgcli.envs.device.adapter_support import quietly, their_rules
from pgcli.envs.make import make_device_env
from pgcli.envs.registry import DEVICE_BACKENDS, list_envs
from pgcli.errors import UsageError
from pgcli.extras import pip_install

# (an id, an argument of its constructor that there is)
EXAMPLES = {
    "brax:inverted_pendulum": {"backend": "spring"},
    "playground:CartpoleBalance": {"sim_dt": 0.005},
    "xminigrid:MiniGrid-Empty-5x5": {"view_size": 5},
    "pgx:minatar-breakout": {"sticky_action_prob": 0.0},
}
every_library = pytest.mark.parametrize("env_id", EXAMPLES)


def need(env_id: str) -> None:
    """Skips the test if the library of an id is not installed."""
    backend = DEVICE_BACKENDS[env_id.partition(":")[0]]
    if not backend.installed:
        pytest.skip(f"needs the extra {backend.extra}")


@pytest.mark.parametrize("env_id", ["gymnax:CartPole-v1", *EXAMPLES])
def test_library_that_is_not_installed_is_listed_and_named(
    env_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = env_id.partition(":")[0]
    gone = DEVICE_BACKENDS[prefix]._replace(module="not_there")
    monkeypatch.setitem(registry.DEVICE_BACKENDS, prefix, gone)
    with pytest.raises(UsageError) as caught:
        make_device_env(EnvConfig(env_id))
    assert caught.value.help == pip_install(str(gone.extra))
    row = next(r for r in list_envs() if r.id == env_id)
    assert row == (env_id, "device", gone.extra, False)


def test_listing_device_environments_imports_no_library() -> None:
    modules = {b.module for b in DEVICE_BACKENDS.values()} | {"mujoco", "warp"}
    code = (
        "import sys; from pgcli.envs.registry import list_envs; list_envs(); "
        f"print(sorted({modules!r} & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert found.stdout == "[]\n"


@pytest.mark.slow
def test_names_are_those_of_the_libraries() -> None:
    def ours(prefix: str) -> set[str]:
        return set(DEVICE_BACKENDS[prefix].names())

    for module in ("brax", "mujoco_playground", "xminigrid", "pgx"):
        pytest.importorskip(module)
    with quietly():
        import mujoco_playground
        import pgx
        import xminigrid
        from brax import envs

        suites = ("dm_control_suite", "locomotion", "manipulation")
        robots = [getattr(mujoco_playground, suite).ALL_ENVS for suite in suites]
    assert ours("brax") == set(envs._envs) - {"fast"}
    assert ours("playground") == set().union(*robots)
    grids = xminigrid.registered_environments()
    assert ours("xminigrid") == {n for n in grids if n.startswith("MiniGrid")}
    games = pgx.available_envs()
    assert ours("pgx") == {"2048", *(n for n in games if n.startswith("minatar"))}


@pytest.mark.slow
@every_library
def test_library_takes_its_own_arguments_and_names_others(env_id: str) -> None:
    need(env_id)
    make_device_env(EnvConfig(env_id, kwargs=EXAMPLES[env_id]))
    with pytest.raises(UsageError, match="wheels"):
        make_device_env(EnvConfig(env_id, kwargs={"wheels": 3}))


@pytest.mark.slow
def test_playground_robot_without_its_models_is_refused_before_a_download(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    playground = pytest.importorskip("mujoco_playground")
    monkeypatch.setattr(playground, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(UsageError, match="models") as caught:
        make_device_env(EnvConfig("playground:Go1JoystickFlatTerrain"))
    assert "ensure_menagerie_exists" in (caught.value.help or "")


@cache
def made(env_id: str) -> DeviceEnv:
    return make_device_env(EnvConfig(env_id, max_episode_steps=9))


def play(env: DeviceEnv, actions: Any) -> Step:
    """Steps [T] of one environment that is never reset."""

    def one(state: Any, action: Any) -> Any:
        return env.step(jax.random.key(1), state, action)

    run = quick_jit(lambda key: jax.lax.scan(one, env.reset(key)[0], actions)[1])
    found: Step = jax.device_get(run(jax.random.key(0)))
    return found


def as_brax_plays(env: Any, actions: Any) -> tuple[Any, Any, Any, Any]:
    """(obs, reward, done, truncation) by Brax's own EpisodeWrapper, [T]."""
    from brax.envs.wrappers.training import EpisodeWrapper

    wrapped = EpisodeWrapper(env, 9, 1)
    begin, step = quick_jit(wrapped.reset), quick_jit(wrapped.step)
    rows = []
    with their_rules():
        state = begin(jax.random.key(0))
        for action in actions:
            state = step(state, action)
            row = (state.obs, state.reward, state.done, state.info["truncation"])
            rows.append(jax.device_get(row))
    return tuple(np.stack(column) for column in zip(*rows, strict=True))  # type: ignore[return-value]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["inverted_pendulum", "CartpoleBalance"])
def test_brax_protocol_is_what_brax_makes_of_it(name: str) -> None:
    pytest.importorskip("mujoco_playground")
    with quietly():
        from brax import envs
        from mujoco_playground import registry as playground

        if name == "CartpoleBalance":
            prefix = "playground"
            theirs = playground.load(name, config_overrides={"impl": "jax"})
        else:
            prefix, theirs = "brax", envs.get_environment(name)
    actions = jax.random.uniform(jax.random.key(3), (9, 1), minval=-1.0)
    obs, reward, done, truncation = as_brax_plays(theirs, actions)
    step = play(made(f"{prefix}:{name}"), actions)
    np.testing.assert_allclose(step.obs, obs, atol=1e-5)
    np.testing.assert_allclose(step.reward, reward, atol=1e-5)
    np.testing.assert_array_equal(step.terminated, (done - truncation) > 0)
    # theirs is truncated only where it did not end as well
    np.testing.assert_array_equal(step.truncated & ~step.terminated, truncation > 0)
    assert step.truncated[-1]


@pytest.mark.slow
def test_brax_fall_terminates() -> None:
    pytest.importorskip("brax")
    env = make_device_env(EnvConfig("brax:inverted_pendulum"))
    step = play(env, jnp.ones((40, 1)))
    # pushed one way, the pole passes 0.2 rad
    np.testing.assert_array_equal(step.terminated, np.abs(step.obs[:, 1]) > 0.2)
    assert step.terminated[-1]
    assert not step.truncated.any()


@pytest.mark.slow
def test_xminigrid_goal_terminates_with_its_reward() -> None:
    pytest.importorskip("xminigrid")
    env = make_device_env(EnvConfig("xminigrid:MiniGrid-Empty-5x5"))
    assert env.spec.max_episode_steps == 100
    # from the corner, looking along the wall: two steps, a turn, two steps
    step = play(env, jnp.array([0, 0, 1, 0, 0]))
    np.testing.assert_array_equal(step.terminated, [False] * 4 + [True])
    # MiniGrid's 1 − 0.9·5/100
    np.testing.assert_allclose(step.reward, [0, 0, 0, 0, 0.955], atol=1e-6)
    assert not step.truncated.any()


@pytest.mark.slow
def test_xminigrid_time_limit_truncates() -> None:
    pytest.importorskip("xminigrid")
    step = play(made("xminigrid:MiniGrid-Empty-5x5"), jnp.ones(9, jnp.int32))
    np.testing.assert_array_equal(step.truncated, np.arange(1, 10) == 9)
    assert not step.terminated.any()


@pytest.mark.slow
def test_pgx_lost_ball_terminates() -> None:
    pytest.importorskip("pgx")
    kwargs = {"sticky_action_prob": 0.0}
    env = make_device_env(EnvConfig("pgx:minatar-breakout", kwargs=kwargs))
    assert env.spec.max_episode_steps == 1000
    assert env.spec.obs == Box((10, 10, 4), "uint8", 0.0, 1.0)
    # from row 3 of a corner the ball is in the last row, 9, after six steps, in column
    # 3 or 6; the paddle has gone from 4 to 0
    step = play(env, jnp.ones(8, jnp.int32))
    np.testing.assert_array_equal(step.terminated, np.arange(1, 9) >= 6)
    assert not step.truncated.any()
    assert step.obs.dtype == np.uint8
