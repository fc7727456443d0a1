"""The loop for host environments: NumPy in, one jitted update per iteration."""

import time
from collections.abc import Callable, Collection
from typing import Any, Self

import jax
import numpy as np
from jax.sharding import Mesh

from pgcli.arrays import random_keys
from pgcli.arrays.fetch import fetch
from pgcli.arrays.jitted import Jit, plain_jit
from pgcli.arrays.packing import Packed, pack, unpack
from pgcli.arrays.shared import shared
from pgcli.config.schema import RunConfig
from pgcli.envs.base import HostEnv
from pgcli.envs.make import helpers_of, make_host_env
from pgcli.envs.state.physics_engines import NotRestoredError
from pgcli.envs.waiting import Abandoned
from pgcli.errors import EnvironmentFailed, UsageError
from pgcli.nn.policy import Agent, Policy
from pgcli.rollout.bounds import BoundsWarning
from pgcli.rollout.host_actor import Actor, JitActor, make_actor
from pgcli.rollout.host_collector import CollectorState, HostCollector, blank_state
from pgcli.rollout.host_episode_collector import EpisodeCollector
from pgcli.rollout.types import Transitions
from pgcli.training.backend.memory import require_memory
from pgcli.training.backend.sharding import ambient, make_learner, on_first
from pgcli.training.evaluation.episodes import Episodes
from pgcli.training.evaluation.host import HostEvaluator, eval_envs
from pgcli.training.evaluation.host_envs import EvaluationEnvs
from pgcli.training.loops import host_env_checkpoint
from pgcli.training.loops.base import Groups, Row, Stored, from_words, to_row, to_words
from pgcli.training.loops.host_draws import HostDraws
from pgcli.training.programs.kept import Keeper, Kept
from pgcli.training.programs.key import learner_description
from pgcli.training.seeds import Role, env_seeds, role_key
from pgcli.training.state import RunState, restored_run, run_groups
from pgcli.training.step import Setup, iteration_keys, make_knobs, make_setup, structure
from pgcli.training.stop_signals import PATIENCE_SECONDS, never


def make_train_envs(
    config: RunConfig, episode_set: int = 0, part: range | None = None
) -> HostEnv:
    """The training environments of a run or a part of them; as of `make_host_env`."""
    env, host = config.env, config.host
    seeds = env_seeds(config.seed, "train", env.num_envs, episode_set)
    if part is not None:
        seeds = seeds[part.start : part.stop]
    return make_host_env(
        env,
        seeds,
        vectorizer=host.vectorizer,
        workers=host.workers,
        timeout=host.timeout,
    )


def make_collector(
    env: HostEnv,
    setup: Setup,
    actor: Actor,
    *,
    with_lives: bool = False,
    state: CollectorState | None = None,
    devices: int = 1,
    jit: Jit = plain_jit,
) -> HostCollector | EpisodeCollector:
    """The collector for the algorithm of `setup`: of steps or of whole episodes.

    Continues from the `state` of an earlier one. An update splits the environments over
    `devices`. `jit` compiles its programs.
    """
    policy, num_steps = setup.policy, setup.num_steps
    if setup.algorithm.collects == "episodes":
        # a column is one episode: every round adds one of each environment
        rounds = setup.columns // env.num_envs
        return EpisodeCollector(env, policy, rounds, num_steps, actor, jit)
    return HostCollector(
        env,
        policy,
        num_steps,
        actor,
        with_lives=with_lives,
        state=state,
        devices=devices,
        jit=jit,
    )


class HostLoop:
    """Training on host environments."""

    groups: Collection[str] = ("agent", "run", "env")
    optional_groups: Collection[str] = ("env",)

    def __init__(
        self,
        config: RunConfig,
        env: HostEnv | None = None,
        policy: Policy | None = None,
        like: Self | None = None,
        mesh: Mesh | None = None,
        make_envs: Callable[[RunConfig, int], HostEnv] = make_train_envs,
    ) -> None:
        """Makes the environments; the first `advance` resets them.

        `env` and `policy` replace those of the configuration. Compiled programs are
        shared with `like`, a loop of the same structure. The batch is split over the
        devices of `mesh`; actions are computed on the first of them.
        """
        # environments and structure of the run
        self.iteration = 0
        self.steps = 0
        self._config = config
        self._episode_set = 0
        self._make_envs = make_envs
        self._env = env or make_envs(config, 0)
        self.spec, self.helpers = self._env.spec, helpers_of(self._env)
        self._eval_envs: EvaluationEnvs = (
            like._eval_envs if like else EvaluationEnvs(config.env, config.host)
        )
        try:
            self.setup = make_setup(config, self.spec, policy)
            described = None if policy else learner_description(config, self.spec)
            self._make_programs(mesh, described, like)
            knobs = structure(make_knobs(config))
            state = self._begin.eval_shape(knobs, random_keys.key(0))
            self.parameters = require_memory(config, self.setup, state.learner.agent)
            if env is None and like is None:
                self._check_ends()
        except UsageError:
            self._env.close()
            raise

        # inputs of the compiled programs
        self._actor = (
            make_actor(
                config.host, config.network, self.spec, self.setup.policy, self._jit
            )
            if policy is None
            else JitActor(policy)
        )
        self._knobs = make_knobs(config)
        self._budget = to_words(config.steps)
        if mesh is None:  # else they would be copied to the other devices by every call
            self._knobs, self._budget = jax.device_put((self._knobs, self._budget))
        self._run_key = role_key(config.seed, "train")
        self._mesh, self._devices = mesh, mesh.size if mesh else 1

        # state of the run; the collector is made when the episodes begin
        self._packs = mesh is None and policy is None and config.host.act == "numpy"
        self._state: RunState | Packed
        self._put(self._begin(self._knobs, role_key(config.seed, "init")))
        self._draw: Callable[[int], tuple[tuple[Any, ...], Any]] = self._draw_keys
        if self._packs and self.setup.algorithm.collects == "steps":
            self._draw = HostDraws(self.setup, self._run_key, self._jit)
        self._collector: HostCollector | EpisodeCollector | None = None
        self._failure: EnvironmentFailed | Abandoned | None = None
        self._rollouts = 0
        # duration of the last rollout; the environments before this one, if it may be
        # given up, and after it was given up
        self._seconds = 0.0
        self._before: dict[str, np.ndarray] | None = None
        self._kept: dict[str, np.ndarray] | None = None
        self._unreliable: str | None = None
        self._news: list[str] = []

    def _make_programs(
        self, mesh: Mesh | None, described: str | None, like: Self | None
    ) -> None:
        """The programs and what belongs to them; `described` as of `Kept`."""
        self._jit = Keeper(described)  # what acts has one device
        if like is None:
            self._keys: Kept = shared(Keeper(""), iteration_keys, "keys")
            learner = shared(make_learner, self.setup, mesh, Keeper(described, mesh))
            self._begin: Kept = learner[0]
            self._learn: Kept = learner[1]
            self._evaluator = HostEvaluator(self.setup.policy, True, self._jit)
            self._bounds = BoundsWarning(self.spec.obs)
        else:
            self._keys, self._learn = like._keys, like._learn
            self._begin, self._evaluator = like._begin, like._evaluator
            self._bounds = like._bounds  # one warning for all

    def _check_ends(self) -> None:
        """Raises a UsageError if evaluations would wait for episodes without end."""
        config = self._config.eval
        if (
            config.every or config.final_episodes
        ) and self.spec.max_episode_steps is None:
            self._eval_envs.check_ends()

    def _make_collector(
        self, state: CollectorState | None = None
    ) -> HostCollector | EpisodeCollector:
        return make_collector(
            self._env,
            self.setup,
            self._actor,
            with_lives=self._config.rollout.end_on_life_loss,
            state=state,
            devices=self._devices,
            jit=self._jit,
        )

    def advance(
        self, until: int, seconds: float, stop: Callable[[], bool] = never
    ) -> list[Row]:
        """See `Loop.advance`. Rows from before a failure are returned first."""
        if self._failure is not None:
            raise self._failure
        if self._collector is None:
            self._before = self._store_env()
            self._collector = self._make_collector()
        rows: list[Row] = []
        start = time.perf_counter()
        while not rows or (
            self.steps < until and time.perf_counter() - start < seconds and not stop()
        ):
            # collect transitions [T, N, …]
            drawn, update_key = self._draw(self.iteration)
            try:
                transitions = self._collect(self._collector, drawn)
            except (EnvironmentFailed, Abandoned) as failure:
                # the environments are in the middle of a rollout that is discarded
                if isinstance(failure, Abandoned):
                    self._unreliable = "a signal had ended a rollout"
                    self._kept = self._before
                else:
                    self._unreliable = "an environment had failed"
                if not rows:
                    raise
                self._failure = failure
                break
            # update, and the row of the iteration
            with ambient(self._mesh):
                self._state, report = self._learn(
                    self._knobs, self._state, transitions, self._budget, update_key
                )
            self.iteration += 1
            self._note_bounds(self._collector.outside, self.iteration)
            if self._bounds.given:
                self._collector.bounded = {}
            report = fetch(report)
            report = unpack(report) if self._packs else report
            rows.append(to_row(report, self.iteration, self.spec))
            self.steps = from_words(report.steps)
        return rows

    def _draw_keys(self, iteration: int) -> tuple[tuple[Any], Any]:
        """((collection key,), update key) of an iteration."""
        collect_key, update_key = self._keys(self._run_key, np.uint32(iteration))
        return (collect_key,), update_key

    def _collect(
        self, collector: HostCollector | EpisodeCollector, drawn: tuple[Any, ...]
    ) -> Transitions:
        """The transitions of one rollout; the second one is checked against a copy.

        A copy of the first environment, restored from its state in the middle of an
        episode, must repeat the rollout. Otherwise an exact resume is not possible.
        """
        # a long rollout may be given up: then its beginning is what is saved
        self._rollouts += 1
        if self._rollouts > 1:
            is_long = self._seconds > PATIENCE_SECONDS
            self._before = self._store_env() if is_long else None
        start = time.perf_counter()
        transitions = self._collect_checked(collector, drawn)
        self._seconds = time.perf_counter() - start
        return transitions

    def _collect_checked(
        self, collector: HostCollector | EpisodeCollector, drawn: tuple[Any, ...]
    ) -> Transitions:
        if self._rollouts != 2:
            return collector.collect(self.agent(), *drawn)
        states, reason = host_env_checkpoint.take(self._env)
        transitions = collector.collect(self.agent(), *drawn)
        if reason is None:
            collects = self.setup.algorithm.collects
            self._unreliable = host_env_checkpoint.mismatch(
                self._config, self.setup.policy, states, transitions, collects
            )
            if self._unreliable is not None:
                self._news.append(
                    "environments will begin new episodes on resume: "
                    f"{self._unreliable}"
                )
        return transitions

    def _note_bounds(self, found: np.ndarray | None, iteration: int | None) -> None:
        """Adds the warning of `BoundsWarning.news` if it is due."""
        self._news += self._bounds.news(found, iteration)
        self._evaluator.watch_bounds = not self._bounds.given

    def news(self) -> list[str]:
        """See `Loop.news`."""
        news = self._news + self._eval_envs.news
        self._news, self._eval_envs.news = [], []
        return news

    def agent(self) -> Agent:
        """The current agent, on the first device or in NumPy."""
        agent: Agent = self._part(lambda state: state.learner.agent)
        return agent if self._devices == 1 else on_first(agent)

    def _part(self, part: Callable[[RunState], Any] = lambda state: state) -> Any:
        """The state of the run or a part of it; in NumPy if actions are."""
        state = self._state
        return unpack(fetch(state), part) if isinstance(state, Packed) else part(state)

    def _put(self, state: RunState) -> None:
        """Replaces the state of the run, packed for fewer arguments if it can be."""
        self._state = state
        if self._packs:
            packed = pack(fetch(state), np)
            self._state = jax.device_put(packed, may_alias=False)

    def evaluate(
        self, episodes: int, role: Role, seed: int, stop: Callable[[int], bool] = never
    ) -> Episodes:
        """See `Loop.evaluate`."""
        seeds = env_seeds(seed, role, eval_envs(episodes))
        with self._eval_envs.begin(seeds) as (env, obs):
            agent = jax.device_put(self.agent())
            played = self._evaluator.play(
                env, agent, episodes, role_key(seed, role), stop, obs
            )
        self._eval_envs.note_cuts(played.lengths)
        self._note_bounds(self._evaluator.outside, None)
        return played

    def snapshot(self) -> Groups:
        """See `Loop.snapshot`."""
        env = self._store_env() if self._kept is None else self._kept
        return {**run_groups(self._part()), "env": env}

    def _store_env(self) -> dict[str, np.ndarray]:
        collector = self._collector.get_state() if self._collector else None
        return host_env_checkpoint.store(
            self._env, collector, self._episode_set, self._unreliable
        )

    def restore(self, groups: Stored, where: str) -> str:
        """See `Loop.restore`: `exact`, or `learner-exact` with new episodes.

        New episodes use a seed set numbered by the iteration, so that no episode is
        played twice.
        """
        # the learner
        state = restored_run(self._part(), groups, where)
        self._put(state)
        self.iteration, self.steps = int(state.iteration), from_words(state.steps)

        # the environments
        try:
            self._restore_env(groups.get("env"), where)
        except NotRestoredError as error:
            self._news.append(f"environments begin new episodes: {error}")
            self._begin_new_episodes()
            return "learner-exact"
        return "exact"

    def _restore_env(
        self, group: host_env_checkpoint.Arrays | None, where: str
    ) -> None:
        """Restores environments and collector, or raises `NotRestoredError`."""
        stored = host_env_checkpoint.StoredEnv(group, where)
        # environments that were stepped, or have other seeds, are made again
        if self._collector is not None or stored.episode_set != self._episode_set:
            self._replace_env(stored.episode_set)
        if not stored.begun:
            return
        steps = self.setup.algorithm.collects == "steps"
        blank = blank_state(self._env, self.setup.policy) if steps else {}
        state = stored.restore(self._env, blank)
        self._before = dict(group or {})
        self._collector = self._make_collector(state)

    def _replace_env(self, episode_set: int) -> None:
        """Makes new environments with another seed set."""
        self._env.close()
        self._rollouts, self._unreliable = 0, None
        self._episode_set = episode_set
        self._env = self._make_envs(self._config, episode_set)
        self._collector = None

    def _begin_new_episodes(self) -> None:
        """Makes new environments and discards the returns of unfinished episodes."""
        state: RunState = self._part()
        tally, scaler = state.tally, state.reward_scaler
        if scaler is not None:
            scaler = scaler.replace(discounted=np.zeros_like(scaler.discounted))
        tally = tally.replace(
            return_=np.zeros_like(tally.return_),
            remainder=np.zeros_like(tally.remainder),
            length=np.zeros_like(tally.length),
        )
        self._put(state.replace(tally=tally, reward_scaler=scaler))
        self._replace_env(self.iteration)

    def close(self) -> None:
        """Closes the environments."""
        self._env.close()
        self._eval_envs.close()
