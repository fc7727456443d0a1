"""The loop for on-device environments: many iterations in one compiled program."""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from pgcli.arrays import exact_count, random_keys
from pgcli.arrays.device_mesh import EVERYWHERE, ROWS
from pgcli.arrays.shapes import Array
from pgcli.arrays.shared import shared
from pgcli.config.schema import RunConfig
from pgcli.envs.base import DeviceEnv
from pgcli.nn.policy import Agent, Policy
from pgcli.rollout.bounds import BoundsWarning, outside
from pgcli.rollout.device_collector import begin, collect
from pgcli.rollout.device_episode_collector import collect_episodes
from pgcli.training.backend.compilation import RUN_OFTEN, RUN_ONCE, RUN_SELDOM
from pgcli.training.backend.memory import require_memory
from pgcli.training.backend.sharding import ambient, placement
from pgcli.training.evaluation.device import (
    Played,
    checked,
    evaluate_on_device,
    in_waves,
    strong,
)
from pgcli.training.evaluation.device_bounds import strays
from pgcli.training.evaluation.episodes import Episodes
from pgcli.training.loops.base import Groups, Row, Stored, from_words, to_row, to_words
from pgcli.training.loops.chunk_size import Pace
from pgcli.training.programs.kept import Kept
from pgcli.training.programs.key import description
from pgcli.training.seeds import Role, role_key
from pgcli.training.state import (
    DeviceState,
    from_arrays,
    restored_run,
    run_groups,
    to_arrays,
)
from pgcli.training.step import (
    Knobs,
    Report,
    Setup,
    init_run,
    iteration_keys,
    learn,
    make_knobs,
    make_setup,
    structure,
)
from pgcli.training.stop_signals import never

MAX_CHUNK = 256
"""Largest number of iterations per call, whose reports are kept on the device."""


def iterate(
    setup: Setup,
    env: DeviceEnv,
    knobs: Knobs,
    state: DeviceState,
    run_key: Array,
    budget: Array,
) -> tuple[DeviceState, Report]:
    """(state, report) after one iteration: collection and update."""
    collect_key, update_key = iteration_keys(run_key, state.run.iteration)
    agent, policy = state.run.learner.agent, setup.policy
    # transitions [T, N, …]
    if setup.algorithm.collects == "episodes":
        after = state.env
        transitions = collect_episodes(
            env, policy, agent, collect_key, setup.columns, setup.num_steps
        )
    else:
        after, transitions = collect(
            env, policy, agent, state.env, collect_key, setup.num_steps
        )
    # the update
    run, report = learn(setup, knobs, state.run, transitions, budget, update_key)
    acted_on = jax.tree.map(lambda x: x[:-1], transitions.obs)
    weight = transitions.weight
    steps = jnp.maximum(jnp.sum(weight), 1)
    found = outside(setup.spec.obs, acted_on, weight, steps, jnp)
    return DeviceState(run, after), report._replace(outside=found)


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
    """Result of iterating until `until` steps are used or `max_iterations` have run.

    The number of iterations is an argument, not a shape, so that one program serves
    all chunks, and the division of a run into chunks does not affect its result.

    Returns:
      (state, reports, count): the first `count` rows of `reports` are filled.
    """

    @jax.jit  # traced once, for the shapes of its report and for the loop
    def iteration(state: DeviceState) -> tuple[DeviceState, Report]:
        return iterate(setup, env, knobs, state, run_key, budget)

    def unfinished(carry: tuple[DeviceState, Report, Array]) -> Array:
        state, _, count = carry
        return (count < max_iterations) & exact_count.less(state.run.steps, until)

    def body(
        carry: tuple[DeviceState, Report, Array],
    ) -> tuple[DeviceState, Report, Array]:
        state, reports, count = carry
        state, report = iteration(state)
        reports = jax.tree.map(lambda xs, x: xs.at[count].set(x), reports, report)
        return state, reports, count + 1

    # loop over rows of reports [MAX_CHUNK, …]
    shapes = jax.eval_shape(iteration, state)[1]
    empty = jax.tree.map(lambda x: jnp.zeros((MAX_CHUNK, *x.shape), x.dtype), shapes)
    return jax.lax.while_loop(unfinished, body, (state, empty, jnp.int32(0)))


def init_device(setup: Setup, env: DeviceEnv, knobs: Knobs, key: Array) -> DeviceState:
    """Initial state of a run and of its environments. Consumes the key.

    Types are those of later states, so that training is compiled once.
    """
    env_key = jax.random.fold_in(key, 1)
    run = init_run(setup, knobs, key)
    if setup.algorithm.collects == "episodes":
        return DeviceState(run, ())  # every rollout begins with resets
    state = DeviceState(run, begin(env, setup.policy, env_key, setup.columns))
    strong_state: DeviceState = strong(state)
    return strong_state


def to_groups(state: DeviceState) -> Groups:
    """Arrays from which the state can be restored, by group."""
    return {**run_groups(state.run), "env": to_arrays(state.env)}


def from_groups(state: DeviceState, groups: Stored, where: str) -> DeviceState:
    """The state of a snapshot, with the structure of `state`, or a CheckpointError."""
    run = restored_run(state.run, groups, where)
    return DeviceState(run, from_arrays(state.env, groups["env"], where))


def _jit_evaluation(
    env: DeviceEnv,
    policy: Policy,
    episodes: int,
    mesh: Mesh | None,
    described: str | None,
) -> Kept:
    """The jitted evaluation of a policy's modes; `described` as of `Kept`."""
    play = partial(evaluate_on_device, env, policy, episodes, True)
    return Kept(play, "evaluation", described, mesh, compiler_options=RUN_SELDOM)


def _jit_training(
    setup: Setup,
    env: DeviceEnv,
    mesh: Mesh | None,
    described: str | None,
) -> tuple[Kept, Kept]:
    """(initialisation, training), jitted for one device or split along environments.

    `described` as of `Kept`.
    """
    init, chunk = partial(init_device, setup, env), partial(run_chunk, setup, env)
    once: dict[str, Any] = {"compiler_options": RUN_ONCE}
    often: dict[str, Any] = {"compiler_options": RUN_OFTEN, "donate_argnums": 1}
    # the state goes by `placement`; everything else is on every device
    if mesh is not None:
        everywhere = NamedSharding(mesh, EVERYWHERE)
        states = DeviceState(placement(mesh, setup), NamedSharding(mesh, ROWS))
        once["out_shardings"] = states
        often["in_shardings"] = (everywhere, states, *(everywhere,) * 4)
        often["out_shardings"] = (states, everywhere, everywhere)
    return (
        Kept(init, "initialisation", described, mesh, **once),
        Kept(chunk, "training", described, mesh, **often),
    )


class DeviceLoop:
    """Training on an on-device environment."""

    groups: Collection[str] = ("agent", "run", "env")
    optional_groups: Collection[str] = ()
    helpers = ""

    def __init__(
        self,
        config: RunConfig,
        env: DeviceEnv,
        policy: Policy | None = None,
        mesh: Mesh | None = None,
        ahead: bool = False,
    ) -> None:
        """Prepares the run.

        `policy` replaces the network of the configuration; environments and batch are
        split over the devices of `mesh`. Programs are compiled by their first calls, or
        `ahead` of them from now on, in another thread.
        """
        self._mesh = mesh
        self.spec = env.spec
        self.setup = make_setup(config, env.spec, policy)
        # periodic and final evaluation: waves of `eval.episodes`
        self._eval_envs = config.eval.episodes
        described = None if policy else description(config, env)
        self._evaluate = shared(
            _jit_evaluation, env, self.setup.policy, self._eval_envs, mesh, described
        )
        blank = structure(make_knobs(config))
        self._begin, self._chunk = shared(
            _jit_training, self.setup, env, mesh, described
        )
        # shapes only: the memory is checked before the state is made
        state = self._begin.eval_shape(blank, random_keys.key(0))
        self.parameters = require_memory(config, self.setup, state.run.learner.agent)
        if ahead and self._chunk.may_prepare:
            self._prepare(config, state)
        self.restart(config)

    def _prepare(self, config: RunConfig, state: DeviceState) -> None:
        """Compiles the programs, in the order of their first calls; needs shapes."""
        key, words = random_keys.key(0), to_words(config.steps)
        knobs = make_knobs(config)
        self._begin.prepare(knobs, key)
        with ambient(self._mesh):
            self._chunk.prepare(knobs, state, key, words, words, np.int32(0))
        if config.eval.every or config.eval.final_episodes:
            self._evaluate.prepare(state.run.learner.agent, key)

    def restart(self, config: RunConfig) -> None:
        """Resets the loop to the first iteration of another run.

        Only the seed and floating-point values may differ, so that the compiled
        programs are reused.
        """
        self.iteration = self.steps = 0
        self._knobs = make_knobs(config)
        self._budget = to_words(config.steps)
        self._run_key = role_key(config.seed, "train")
        self._state = self._begin(self._knobs, role_key(config.seed, "init"))
        self._pace = Pace()
        self._bounds, self._news = BoundsWarning(self.spec.obs), list[str]()

    def advance(
        self, until: int, seconds: float, stop: Callable[[], bool] = never
    ) -> list[Row]:
        """See `Loop.advance`."""
        # one call; its number of iterations follows from the measured pace
        limit = min(self._pace.begin(seconds), MAX_CHUNK)
        reports, count = self.compute(until, limit)
        self._pace.end(count)

        # one row per iteration
        rows = []
        for i in range(count):
            report = jax.tree.map(lambda x, i=i: x[i], reports)
            iteration = self.iteration + i + 1
            self._news += self._bounds.news(report.outside, iteration)
            rows.append(to_row(report, iteration, self.spec))
        self.iteration += len(rows)
        self.steps = from_words(reports.steps[count - 1])
        return rows

    def compute(self, until: int, limit: int) -> tuple[Report, int]:
        """(reports, count) of one call: the first `count` rows of reports are filled.

        At most `limit` iterations, up to `until` steps.
        """
        with ambient(self._mesh):
            self._state, reports, count = self._chunk(
                self._knobs,
                self._state,
                self._run_key,
                self._budget,
                to_words(until),
                np.int32(limit),
            )
        reports, count = jax.device_get((reports, count))
        return reports, int(count)

    def agent(self) -> Agent:
        """The current agent."""
        agent: Agent = self._state.run.learner.agent
        return agent

    def evaluate(
        self, episodes: int, role: Role, seed: int, stop: Callable[[int], bool] = never
    ) -> Episodes:
        """See `Loop.evaluate`."""

        def play(wave: int) -> Played:
            played: Played = self._evaluate(self.agent(), role_key(seed, role, wave))
            return played

        played = in_waves(play, episodes, self._eval_envs, stop)
        self._news += self._bounds.news(strays(played.outside, played.lengths), None)
        return checked(played, self.spec, seed)

    def news(self) -> list[str]:
        """See `Loop.news`."""
        news, self._news = self._news, []
        return news

    def snapshot(self) -> Groups:
        """See `Loop.snapshot`."""
        return to_groups(self._state)

    def restore(self, groups: Stored, where: str) -> str:
        """See `Loop.restore`: always `exact`."""
        before, self._state = self._state, from_groups(self._state, groups, where)
        if self._mesh is not None and jax.process_count() == 1:
            # split as programs that are compiled ahead expect it
            places = jax.tree.map(lambda x: x.sharding, before)
            self._state = jax.device_put(self._state, places)
        run = self._state.run
        self.iteration = int(run.iteration)
        self.steps = from_words(run.steps)
        return "exact"

    def close(self) -> None:
        """See `Loop.close`: nothing to close."""
