"""The jitted programs of a run with the shapes of their arguments, not compiled."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from pgcli.config.schema import RunConfig
from pgcli.envs.actions import random_action
from pgcli.envs.base import DeviceEnv
from pgcli.nn.policy import draw_noise, zero_obs
from pgcli.rollout.device_collector import env_keys
from pgcli.rollout.host_actor import _jit_step
from pgcli.rollout.types import Transitions
from pgcli.training.backend.sharding import make_learner
from pgcli.training.evaluation.host import _jit_act
from pgcli.training.loops.base import to_words
from pgcli.training.loops.device_loop import _jit_evaluation, _jit_training
from pgcli.training.members.device_members import _programs
from pgcli.training.step import Setup, make_knobs, make_setup

KEY = jax.eval_shape(lambda: jax.random.key(0))
WORDS, COUNT = to_words(1), np.int32(1)


class Program(NamedTuple):
    """A jitted function and its arguments, or their shapes."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    def lowered(self, *platforms: str) -> str:
        """Its StableHLO for other platforms than the one that is there."""
        traced = self.function.trace(*self.arguments)
        return str(traced.lower(lowering_platforms=platforms).as_text())


def device_programs(
    cfg: RunConfig, env: DeviceEnv, mesh: Mesh | None = None
) -> dict[str, Program]:
    """The programs of a run on an on-device environment."""
    setup, knobs = make_setup(cfg, env.spec), make_knobs(cfg)
    kept = (
        *_jit_training(setup, env, mesh, None),
        _jit_evaluation(env, setup.policy, cfg.eval.episodes, mesh, None),
    )
    begin, chunk, play = (each._plain for each in kept)
    state = jax.eval_shape(begin, knobs, KEY)
    return {
        "training": Program(chunk, (knobs, state, KEY, WORDS, WORDS, COUNT)),
        "initialisation": Program(begin, (knobs, KEY)),
        "evaluation": Program(play, (state.run.learner.agent, KEY)),
    }


def member_programs(
    cfg: RunConfig, env: DeviceEnv, count: int, mesh: Mesh | None = None
) -> dict[str, Program]:
    """The programs of several members on an on-device environment."""
    setup = make_setup(cfg, env.spec)
    kept = _programs(setup, env, mesh, cfg.eval.episodes, None)
    begin, chunk, play = (each._plain for each in kept)
    knobs = jax.tree.map(lambda x: np.repeat(x, count), make_knobs(cfg))
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), count))
    states, alive = jax.eval_shape(begin, knobs, keys), np.ones(count, bool)
    arguments = (knobs, states, keys, alive, WORDS, WORDS, COUNT)
    return {
        "training": Program(chunk, arguments),
        "initialisation": Program(begin, (knobs, keys)),
        "evaluation": Program(play, (states.run.learner.agent, keys)),
    }


def host_programs(cfg: RunConfig, spec: Any) -> dict[str, Program]:
    """The programs of a run on host environments with the given spec."""
    setup, knobs = make_setup(cfg, spec), make_knobs(cfg)
    begin, learn = make_learner(setup)
    state = jax.eval_shape(begin, knobs, KEY)
    agent, policy, num_envs = state.learner.agent, setup.policy, setup.columns
    noise = jax.eval_shape(
        lambda agent, key: draw_noise(
            policy, agent, spec.obs, env_keys(key, num_envs), 1
        ),
        agent,
        KEY,
    )
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), noise)
    carry = jax.eval_shape(lambda: policy.initial_carry(num_envs))
    seen = agent, carry, zero_obs(spec.obs, (num_envs,)), np.zeros(num_envs, bool)
    return {
        "update": Program(learn, (knobs, state, _transitions(setup), WORDS, KEY)),
        "initialisation": Program(begin, (knobs, KEY)),
        "action": Program(_jit_step(policy), (*seen, one)),
        "evaluation": Program(_jit_act(policy, True), (*seen, KEY)),
    }


def _transitions(setup: Setup) -> Transitions:
    """Transitions as a host collector makes them, of zeros, and two cut episodes."""
    spec, shape = setup.spec, (setup.num_steps, setup.columns)
    rows = setup.num_steps + 1, setup.columns
    none = np.zeros(shape, bool)
    make = partial(zero_obs, spec.obs)
    return Transitions(
        obs=make(rows),
        action=random_action(spec.action, shape, np.random.default_rng(0)),
        reward=np.zeros(shape, np.float32),
        terminated=none,
        truncated=none,
        start=np.zeros(rows, bool),
        weight=np.ones(shape, np.float32),
        final_obs=make((2,)),
        final_index=np.arange(2, dtype=np.int32),
        first_carry=jax.eval_shape(lambda: setup.policy.initial_carry(setup.columns)),
    )
