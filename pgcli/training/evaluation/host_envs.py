"""Host environments for evaluation, made once and kept."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from pgcli.config.schema import EnvConfig, HostConfig
from pgcli.envs.actions import random_action
from pgcli.envs.base import HostEnv, HostSlot, split_mask
from pgcli.envs.failures import close_quietly
from pgcli.envs.host.env_factory import EnvFactory, env_factory
from pgcli.envs.host.in_process import InProcess
from pgcli.envs.make import in_users_precision, make_host_env
from pgcli.envs.obs_trees import copy_obs, empty_obs, rows
from pgcli.envs.workers.one_worker import OneWorker
from pgcli.errors import EnvironmentFailed, PgcliError, UsageError
from pgcli.rollout.host_collector import empty_slot

LONGEST = 10_000
"""Steps after which an episode is cut if the environment has no time limit."""

CHECKED_STEPS = 64
"""Steps in which a used environment is compared with what it did when it was new."""

PROBE_SECONDS = 10.0
"""Time limit of the search for the end of an episode by random actions."""

NO_EVALUATION = "--set eval.every=0 --set eval.final_episodes=0"


class EvaluationEnvs:
    """The host environments of all evaluations of a run.

    They are kept and seeded again, except native vector environments, and those that do
    not begin as new ones then. If an environment cannot be made next to others in this
    process, a single one is stepped by a process of its own.
    """

    def __init__(self, config: EnvConfig, host: HostConfig) -> None:
        self._config, self._host = config, host
        vectorizer = host.vectorizer or config.default_vectorizer
        self._native = vectorizer == "native"
        self._keep = not self._native
        self._limited = True
        self._made: list[Any] = []
        self._env: HostEnv | None = None
        self._record: _Record | None = None
        self._checked = False
        self.news: list[str] = []

    @contextlib.contextmanager
    def begin(self, seeds: list[int]) -> Iterator[tuple[HostEnv, Any]]:
        """Yields environments, one per seed, after a reset, and their observations.

        Raises as `make_host_env`.
        """
        # before they are used again for the first time: do they begin as new ones?
        if self._record is not None and self._made and not self._checked:
            self._checked = True
            self._keep = self._record.is_repeated(self._made[0])
            if not self._keep:
                self.close()
        env, obs = self._begin(seeds)
        if self._record is None and isinstance(env, _Recorded):
            self._record = _Record(env, obs)
        try:
            yield env, obs
        finally:
            if not self._keep:
                self.close()

    def _begin(self, seeds: list[int]) -> tuple[HostEnv, Any]:
        """Environments after a reset; see `begin`."""
        if isinstance(self._env, OneWorker):
            self._env.reseed(seeds[:1])
            return self._env, _reset(self._env)
        try:
            self._env = self._make(seeds)
            return self._env, _reset(self._env)
        except EnvironmentFailed as error:
            self.close()
            # the first evaluation: perhaps a process can have only one of them
            if self._native or self._record is not None:
                raise
            return self._begin_alone(seeds[:1], error)

    def _begin_alone(
        self, seeds: list[int], error: EnvironmentFailed
    ) -> tuple[HostEnv, Any]:
        """One environment in a worker process, since `error` occurred in this one."""
        factory = env_factory(self._config).for_evaluation()
        if not self._limited:
            factory = dataclasses.replace(factory, max_episode_steps=LONGEST)
        try:
            self._env = OneWorker(factory, seeds, self._host.timeout)
            obs = _reset(self._env)
        except (PgcliError, TypeError):  # or its arguments are not plain data
            self.close()
            error.help = error.help or f"to train without evaluation: {NO_EVALUATION}"
            raise error from None
        self.news.append(
            "evaluation plays in one environment, in a process of its own; others in "
            f"this process failed: {error.message}"
        )
        return self._env, obs

    def _make(self, seeds: list[int]) -> HostEnv:
        if self._native:
            vectorizer = self._host.vectorizer
            return make_host_env(self._config, seeds, vectorizer=vectorizer)
        factory = env_factory(self._config).for_evaluation()
        while len(self._made) < len(seeds):
            self._made.append(self._make_one(factory))
        kind = InProcess if self._checked else _Recorded
        env = kind(self._made[: len(seeds)], seeds, factory.id)
        return in_users_precision(env)

    def _make_one(self, factory: EnvFactory) -> Any:
        """A Gymnasium environment, with a time limit in any case."""
        from gymnasium.wrappers import TimeLimit

        env = factory()
        if getattr(env.spec, "max_episode_steps", None) is not None:
            return env
        self._limited = False
        return TimeLimit(env, LONGEST)

    def check_ends(self) -> None:
        """Raises a UsageError if random actions end no episode in `LONGEST` steps."""
        end = time.perf_counter() + PROBE_SECONDS
        try:
            self._env = env = self._make([0])
            slot, generator = empty_slot(env), np.random.default_rng(0)
            env.reset(slot.obs)
            # if steps are slow, the search ends without an answer
            for _ in range(LONGEST - 1):
                mask = split_mask(env.spec.obs, slot.obs)[1]
                env.step(random_action(env.spec.action, (1,), generator, mask), slot)
                if slot.start[0] or time.perf_counter() > end:
                    return
        except EnvironmentFailed:  # raised again when it matters
            self.close()
            return
        finally:
            if not self._keep:
                self.close()
        raise UsageError(
            f"no time limit is known, and random actions ended no episode in "
            f"{LONGEST:,} steps",
            where=f"environment {self._config.id}",
            help=f"--set env.max_episode_steps=1000; or no evaluation: {NO_EVALUATION}",
        )

    def note_cuts(self, lengths: np.ndarray) -> None:
        """Adds a message if episodes were cut because there is no time limit."""
        cut = int((lengths >= LONGEST).sum())
        if cut and not self._limited:
            self.news.append(
                f"{cut} of {len(lengths)} evaluation episodes were cut after "
                f"{LONGEST:,} steps: no time limit is known; set env.max_episode_steps"
            )

    def close(self) -> None:
        """Closes all environments."""
        if self._env is not None and (self._native or isinstance(self._env, OneWorker)):
            self._env.close()
        for env in self._made:
            close_quietly(env)
        self._env, self._made = None, []


class _Recorded(InProcess):
    """Environments that record the first steps of the first of them."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.steps: list[tuple[Any, Any, float]] = []

    def step(
        self, action: Any, slot: HostSlot, active: np.ndarray | None = None
    ) -> list[tuple[int, Any]]:
        finals = super().step(action, slot, active)
        if len(self.steps) < CHECKED_STEPS:
            obs = copy_obs(rows(slot.obs, 0))
            taken = copy_obs(rows(action, slice(1)))
            self.steps.append((taken, obs, float(slot.reward[0])))
        return finals


class _Record:
    """The first steps of a new environment."""

    def __init__(self, env: _Recorded, obs: Any) -> None:
        self._env, self._first = env, copy_obs(rows(obs, 0))

    def is_repeated(self, env: Any) -> bool:
        """Whether a used environment repeats them, byte for byte."""
        used = InProcess([env], self._env.seeds[:1], self._env.spec.id)
        slot = empty_slot(used)
        try:
            used.reset(slot.obs)
            same = _same(rows(slot.obs, 0), self._first)
            for action, obs, reward in self._env.steps:
                used.step(action, slot)
                same &= _same(rows(slot.obs, 0), obs) and reward == slot.reward[0]
        except EnvironmentFailed:
            return False
        return same


def _reset(env: HostEnv) -> Any:
    obs = empty_obs(env.spec.obs, (env.num_envs,))
    env.reset(obs)
    return obs


def _same(a: Any, b: Any) -> bool:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(x.tobytes() == y.tobytes() for x, y in pairs)
