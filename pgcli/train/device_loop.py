"""The loop for on-device environments: many iterations in one compiled program."""

import time
from collections.abc import Collection
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from pgcli.config.schema import RunConfig
from pgcli.envs.base import DeviceEnv
from pgcli.nn import counter
from pgcli.nn.policy import Agent, Policy
from pgcli.rollout.device import begin, collect
from pgcli.rollout.device_episodes import collect_episodes
from pgcli.shapes import Array
from pgcli.train.evaluate_device import evaluate_on_device
from pgcli.train.loop import Groups, Row, Stored, from_words, to_row, to_words
from pgcli.train.seeds import Role, role_key
from pgcli.train.state import RunState, from_arrays, to_arrays
from pgcli.train.step import (
    Knobs,
    Report,
    Setup,
    init_run,
    iteration_keys,
    learn,
    make_knobs,
    make_setup,
)

RUN_ONCE = {"xla_backend_optimization_level": 0}
"""Compiler options of a program that runs once: it compiles in half the time."""

MAX_CHUNK = 256
"""Iterations whose reports one program can hold."""


class DeviceState(struct.PyTreeNode):
    """A run and its environments."""

    run: RunState
    env: Any  # DeviceEnvState; () where every rollout begins anew


def run_chunk(
    setup: Setup,
    env: DeviceEnv,
    knobs: Knobs,
    state: DeviceState,
    run_key: Array,
    budget: Array,
    until: Array,
    max_iterations: Array,
) -> tuple[DeviceState, Report, Array]:
    """Iterations until `until` steps are used, or `max_iterations` have run.

    The trip count is an argument, not a shape: one program serves every chunk, and
    how a run is cut into chunks cannot change it.

    Returns:
      (state, reports, count): the first `count` rows of `reports` are filled.
    """

    @jax.jit  # traced once, for the shapes of its report and for the loop
    def iteration(state: DeviceState) -> tuple[DeviceState, Report]:
        collect_key, update_key = iteration_keys(run_key, state.run.iteration)
        agent, policy = state.run.learner.agent, setup.policy
        if setup.algorithm.collects == "episodes":
            after = state.env
            transitions = collect_episodes(
                env, policy, agent, collect_key, setup.columns, setup.num_steps
            )
        else:
            after, transitions = collect(
                env, policy, agent, state.env, collect_key, setup.num_steps
            )
        run, report = learn(setup, knobs, state.run, transitions, budget, update_key)
        return DeviceState(run, after), report

    def going(carry: tuple[DeviceState, Report, Array]) -> Array:
        state, _, count = carry
        return (count < max_iterations) & counter.less(state.run.steps, until)

    def body(
        carry: tuple[DeviceState, Report, Array],
    ) -> tuple[DeviceState, Report, Array]:
        state, reports, count = carry
        state, report = iteration(state)
        reports = jax.tree.map(lambda xs, x: xs.at[count].set(x), reports, report)
        return state, reports, count + 1

    shapes = jax.eval_shape(iteration, state)[1]
    empty = jax.tree.map(lambda x: jnp.zeros((MAX_CHUNK, *x.shape), x.dtype), shapes)
    return jax.lax.while_loop(going, body, (state, empty, jnp.int32(0)))


class DeviceLoop:
    """Training on an on-device environment."""

    groups: Collection[str] = ("agent", "run", "env")

    def __init__(
        self, config: RunConfig, env: DeviceEnv, policy: Policy | None = None
    ) -> None:
        """Prepares the run; nothing is compiled before the first `advance`.

        Args:
          config: the run's configuration, resolved.
          env: the environment.
          policy: in place of the network that the configuration names.
        """
        self.setup = make_setup(config, env.spec, policy)
        self.iteration = 0
        self.steps = 0
        self._env = env
        self._knobs = make_knobs(config)
        self._budget = to_words(config.steps)
        self._run_key = role_key(config.seed, "train")
        self._chunk = jax.jit(
            partial(run_chunk, self.setup, env), donate_argnames="state"
        )
        self._eval_envs = config.eval.episodes
        self._evaluate = jax.jit(
            partial(evaluate_on_device, env, self.setup.policy, self._eval_envs, True)
        )
        self._seconds_per_iteration: float | None = None
        init = jax.jit(self._init, compiler_options=RUN_ONCE)
        self._state = init(self._knobs, role_key(config.seed, "init"))

    def _init(self, knobs: Knobs, key: Array) -> DeviceState:
        env_key = jax.random.fold_in(key, 1)
        run = init_run(self.setup, knobs, key)
        if self.setup.algorithm.collects == "episodes":
            return DeviceState(run, ())  # nothing goes on from rollout to rollout
        envs = begin(self._env, self.setup.policy, env_key, self.setup.columns)
        return DeviceState(run, envs)

    def advance(self, until: int, seconds: float) -> list[Row]:
        """See `Loop.advance`."""
        limit = 1
        if self._seconds_per_iteration is not None:
            limit = max(1, int(seconds / self._seconds_per_iteration))
        start = time.perf_counter()
        self._state, reports, count = self._chunk(
            self._knobs,
            self._state,
            self._run_key,
            self._budget,
            to_words(until),
            np.int32(min(limit, MAX_CHUNK)),
        )
        reports, count = jax.device_get((reports, count))
        elapsed = (time.perf_counter() - start) / int(count)
        # the first chunk is mostly compilation and says nothing of the pace
        known = self.iteration > 0 or self._seconds_per_iteration is not None
        self._seconds_per_iteration = elapsed if known else seconds / 8
        rows = [
            to_row(jax.tree.map(lambda x, i=i: x[i], reports), self.iteration + i + 1)
            for i in range(int(count))
        ]
        self.iteration += len(rows)
        self.steps = from_words(reports.steps[int(count) - 1])
        return rows

    def agent(self) -> Agent:
        """The agent as it stands."""
        agent: Agent = self._state.run.learner.agent
        return agent

    def evaluate(
        self, episodes: int, role: Role, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Loop.evaluate`."""
        key, parts = role_key(seed, role), []
        # one program for every number of episodes: waves of as many as are periodic
        for wave in range(-(-episodes // self._eval_envs)):
            part = self._evaluate(self.agent(), jax.random.fold_in(key, wave))
            parts.append([np.asarray(x) for x in part])
        returns, lengths = (
            np.concatenate(x)[:episodes] for x in zip(*parts, strict=True)
        )
        return returns, lengths

    def snapshot(self) -> Groups:
        """See `Loop.snapshot`."""
        run = self._state.run
        agent = run.learner.agent
        rest = run.replace(learner=run.learner.replace(agent=None))
        return {
            "agent": to_arrays(agent),
            "run": to_arrays(rest),
            "env": to_arrays(self._state.env),
        }

    def restore(self, groups: Stored, where: str) -> str:
        """See `Loop.restore`: always exact here."""
        run = self._state.run
        agent = from_arrays(run.learner.agent, groups["agent"], where)
        rest = from_arrays(
            run.replace(learner=run.learner.replace(agent=None)), groups["run"], where
        )
        run = rest.replace(learner=rest.learner.replace(agent=agent))
        env = from_arrays(self._state.env, groups["env"], where)
        self._state = DeviceState(run, env)
        self.iteration = int(run.iteration)
        self.steps = from_words(run.steps)
        return "exact"

    def close(self) -> None:
        """Nothing to free."""
