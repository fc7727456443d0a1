"""Both loops give the same result for the same environment and keys."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from support.small_runs import arrays, config

from pgcli.config.schema import RunConfig
from pgcli.envs.base import DeviceEnv, Discrete, HostSlot
from pgcli.envs.make import make_device_env
from pgcli.rollout.device_collector import collect, env_keys, step_and_reset
from pgcli.training.loops.device_loop import DeviceLoop
from pgcli.training.loops.host_loop import HostLoop
from pgcli.training.seeds import role_key
from pgcli.training.step import iteration_keys

UPDATES = 3
SEEDS = range(5)


class OnTheHost:
    """A device environment as a host environment with the same random numbers.

    The keys are those of `collect`: an iteration's collection key is split into one
    for noise and one for the environment, the latter into one per step.
    """

    def __init__(self, env: DeviceEnv, num_envs: int, num_steps: int) -> None:
        self.spec = env.spec
        self.num_envs = num_envs
        self._num_steps = num_steps
        self._reset = jax.jit(jax.vmap(env.reset))
        self._step = jax.jit(partial(step_and_reset, env))
        self.seed(0)

    def seed(self, seed: int) -> None:
        self.actions: list[np.ndarray] = []
        self._seed = seed

    def reset(self, obs: np.ndarray) -> None:
        key = jax.random.fold_in(role_key(self._seed, "init"), 1)
        self._state, first = self._reset(env_keys(key, self.num_envs))
        obs[...] = first

    def step(self, action: np.ndarray, slot: HostSlot) -> list[tuple[int, Any]]:
        iteration, t = divmod(len(self.actions), self._num_steps)
        if t == 0:
            run_key = role_key(self._seed, "train")
            collect_key, _ = iteration_keys(run_key, np.uint32(iteration))
            env_key = jax.random.split(collect_key)[1]
            self._keys = jax.random.split(env_key, self._num_steps)
        self.actions.append(np.array(action))
        self._state, obs, step = self._step(self._keys[t], self._state, action)
        slot.obs[...] = obs
        slot.reward[:] = step.reward
        slot.terminated[:] = step.terminated
        slot.truncated[:] = step.truncated
        slot.start[:] = step.terminated | step.truncated
        cut = np.flatnonzero(step.truncated & ~step.terminated)
        return [(int(n), np.array(step.obs[n])) for n in cut]

    def close(self) -> None:
        pass


class Pair(NamedTuple):
    """Both loops on one environment; `begin` restarts them with another seed."""

    env: DeviceEnv
    on_host: OnTheHost
    host: HostLoop
    device: DeviceLoop
    config: RunConfig
    collect: Any

    def begin(self, seed: int) -> HostLoop:
        """Restarts the device loop, and returns a host loop of the same seed."""
        config = dataclasses.replace(self.config, seed=seed)
        self.device.restart(config)
        self.on_host.seed(seed)
        return HostLoop(config, self.on_host, like=self.host)

    def device_actions(self, seed: int, iteration: int) -> np.ndarray:
        """Actions of the device loop in its next iteration."""
        state = self.device._state
        key, _ = iteration_keys(role_key(seed, "train"), np.uint32(iteration))
        _, transitions = self.collect(state.run.learner.agent, state.env, key)
        return np.asarray(transitions.action)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("func:CartPole-v1", "ppo2"), id="cartpole"),
        pytest.param(
            ("func:Pendulum-v1", "a2c"), id="pendulum", marks=pytest.mark.slow
        ),
    ],
)
def pair(request: pytest.FixtureRequest) -> Pair:
    env_id, algo = request.param
    cfg = config(env_id, algo=algo)
    env = make_device_env(cfg.env)
    num_steps = cfg.rollout.num_steps
    on_host = OnTheHost(env, cfg.env.num_envs, num_steps)
    host, device = HostLoop(cfg, on_host), DeviceLoop(cfg, env)
    policy = device.setup.policy

    @jax.jit
    def collected(agent: Any, env_state: Any, key: jax.Array) -> Any:
        return collect(env, policy, agent, env_state, key, num_steps)

    return Pair(env, on_host, host, device, cfg, collected)


@pytest.mark.parametrize("seed", SEEDS)
def test_host_collector_is_the_device_collector(pair: Pair, seed: int) -> None:
    host = pair.begin(seed)
    actions = []
    for iteration in range(UPDATES):
        actions.append(pair.device_actions(seed, iteration))
        pair.device.advance(pair.device.steps + 1, 1.0)
        host.advance(host.steps + 1, 1.0)
    actual = np.stack(pair.on_host.actions)
    if isinstance(pair.env.spec.action, Discrete):
        np.testing.assert_array_equal(actual, np.concatenate(actions))
    else:  # equal up to the rounding of another program
        np.testing.assert_allclose(actual, np.concatenate(actions), atol=1e-5)
    theirs = arrays(pair.device.snapshot())
    groups = host.snapshot()
    del groups["env"]  # the states of environments differ in form
    for name, array in arrays(groups).items():
        np.testing.assert_allclose(array, theirs[name], atol=1e-5, err_msg=name)
