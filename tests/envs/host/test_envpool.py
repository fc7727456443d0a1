"""EnvPool under our contract, if it is installed."""

from typing import Any

import jax
import numpy as np
import pytest

from pgcli.config.schema import EnvConfig, NetworkConfig
from pgcli.envs.base import Box
from pgcli.envs.make import make_host_env
from pgcli.errors import UsageError
from pgcli.nn.policy import Agent, make_policy
from pgcli.rollout.host_collector import HostCollector
from pgcli.rollout.types import Transitions

pytest.importorskip("envpool")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def collect(config: EnvConfig, num_steps: int, **lives: bool) -> Transitions:
    env = make_host_env(config, [3, 4])
    policy = make_policy(env.spec, NetworkConfig(hidden=(4,)))
    agent = Agent(policy.init(jax.random.key(0)), None)
    collector = HostCollector(env, policy, num_steps, **lives)
    found: Transitions = collector.collect(agent, jax.random.key(1))
    return found


def test_envpool_resets_weigh_nothing_and_seeds_are_kept_apart() -> None:
    config = EnvConfig("envpool:CartPole-v1", 2, max_episode_steps=9)
    rollout = collect(config, 64)
    done = rollout.terminated | rollout.truncated
    np.testing.assert_array_equal(rollout.weight[1:] == 0, done[:-1])
    np.testing.assert_array_equal(rollout.start[2:], done[:-1])
    assert (rollout.truncated & ~rollout.terminated).any()
    assert (np.abs(rollout.obs[rollout.start]) <= 0.05).all()
    assert (rollout.obs[0, 0] != rollout.obs[0, 1]).all()
    np.testing.assert_array_equal(collect(config, 64).obs, rollout.obs)


def test_envpool_float64_observations_become_float32() -> None:
    config = EnvConfig("envpool:HalfCheetah-v5", 2)
    env = make_host_env(config, [0, 1])
    assert isinstance(env.spec.obs, Box)
    assert env.spec.obs.dtype == "float32"
    assert env.spec.max_episode_steps == 1000
    rollout = collect(config, 4)
    assert rollout.obs.dtype == np.float32
    assert np.isfinite(rollout.obs).all()


def test_envpool_atari_counts_lives() -> None:
    kwargs = {"repeat_action_probability": 0.0}
    config = EnvConfig("envpool:Breakout-v5", 2, kwargs=kwargs)
    rollout = collect(config, 200, with_lives=True)
    assert rollout.obs.dtype == np.uint8
    assert rollout.life_lost.any()
    assert not (rollout.life_lost & rollout.terminated).any()


@pytest.mark.parametrize(
    ("env_id", "kwargs", "said"),
    [
        ("envpool:Pong-v55", {}, "envpool:Pong-v5"),
        ("envpool:Pong-v5", {"episodic_life": True}, "rollout.end_on_life_loss"),
        ("envpool:Pong-v5", {"wheels": 3}, "wheels"),
    ],
)
def test_envpool_refuses_with_a_remedy(
    env_id: str, kwargs: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        make_host_env(EnvConfig(env_id, 2, kwargs=kwargs), [0, 1])
    assert said in f"{caught.value.message} {caught.value.help}"
