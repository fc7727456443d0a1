"""Gymnasium environments stepped sequentially in this process."""

from collections.abc import MutableSequence
from threading import get_ident
from typing import Any

import numpy as np

from pgcli.envs.actions import host_action, row
from pgcli.envs.base import Box, Discrete, EnvState, HostSlot, Space, where_is
from pgcli.envs.failures import close_quietly, failed
from pgcli.envs.host import contract
from pgcli.envs.host.contract import FLAGS, NUMBERS, ContractError
from pgcli.envs.host.env_factory import EnvFactory
from pgcli.envs.host.lives import Lives
from pgcli.envs.host.obs_space_check import checked_by_form, complaint
from pgcli.envs.obs_trees import copy_obs, set_rows
from pgcli.envs.registry import unusable
from pgcli.envs.spaces import make_spec
from pgcli.envs.state.capture import (
    can_replay,
    capture,
    first_obs,
    malformed,
    restore,
    seed_spaces,
    walk,
)
from pgcli.envs.state.physics_engines import NotRestoredError
from pgcli.envs.state.replay import Recording, replay
from pgcli.envs.waiting import CALLS, Waits
from pgcli.errors import CheckpointError, EnvironmentFailed, PgcliError

MOST_CHOICES = 1024
"""Number of discrete actions up to which their NumPy integers are kept."""


def other_count(stored: int, here: int) -> CheckpointError:
    """The error for states of another number of environments."""
    return CheckpointError(
        f"the states of {stored} environments are in the checkpoint; "
        f"{here} are in this configuration"
    )


ONE_EACH = (
    "if a process can have only one of them: --set env.num_envs=1, or one worker for "
    "each further one"
)


class InProcess:
    """N environments that reset in the step that ends an episode.

    Each is seeded once, at its first reset, and has its own random stream. They may be
    a share of a larger number of environments: the rows from `first` on of the actions
    and buffers of all.

    Attributes:
      seeds: one per environment.
      now: one item, the row that is being reset or stepped; read by other processes
        and threads.
    """

    now: MutableSequence[int] | np.ndarray

    def __init__(
        self, envs: list[Any], seeds: list[int], env_id: str, first: int = 0
    ) -> None:
        """Takes ownership of `envs`, which are the rows from `first` on."""
        self.num_envs = len(envs)
        # spaces and time limit are those of the first
        limit = getattr(envs[0].spec, "max_episode_steps", None)
        self.spec = make_spec(
            env_id, envs[0].observation_space, envs[0].action_space, limit
        )
        self.now = [first]
        self._envs = envs
        self._first = first
        self._lives = Lives(self.num_envs, env_id)
        self._waits = Waits(self)
        self.reseed(seeds)
        # actions as items of a list, which are quicker than those of an array
        action_space = self.spec.action
        self._by_row = not isinstance(action_space, Space) or (
            isinstance(action_space, Box) and not action_space.shape
        )
        self._choices: list[Any] | None = None
        if isinstance(action_space, Discrete) and action_space.n <= MOST_CHOICES:
            every = np.arange(action_space.n, dtype=np.int32)
            self._choices = [*host_action(self.spec, every)]
        # (shape, dtype) of a checked observation, and all dtypes returned so far
        self._form: tuple[Any, Any] | None = None
        self._dtypes: list[Any] = []

    def reseed(self, seeds: list[int]) -> None:
        """Sets the seeds of the next reset, which begins as in new environments."""
        # an environment may sample from its spaces, so they are seeded as well
        for env, seed in zip(self._envs, seeds, strict=True):
            seed_spaces(env, seed)
        self.seeds = seeds
        self._steps = 0
        self._begun = False
        self._recordings: list[Recording] | None = None

    @property
    def counts_lives(self) -> bool:
        """Whether the environments report the number of lives."""
        return self._lives.counted

    @classmethod
    def make(cls, factory: EnvFactory, seeds: list[int], first: int = 0) -> "InProcess":
        """One environment per seed."""
        envs: list[Any] = []
        try:
            envs += (factory() for _ in seeds)
            return cls(envs, seeds, factory.id, first)
        except BaseException as error:
            for env in envs:
                close_quietly(env)
            failure = unusable(factory.id, error)
            if envs:
                failure.help = failure.help or ONE_EACH
            raise failure from error

    def reset(self, obs: Any) -> None:
        """Begins an episode in each environment; writes the observations into `obs`."""
        with self._waits:
            self._reset(obs)

    def _reset(self, obs: Any) -> None:
        for i, env in enumerate(self._envs):
            n = self.now[0] = self._first + i
            try:
                if self._recordings is not None and self._begun:
                    self._recordings[i].begin(env)
                # seeded at the first reset only: later episodes continue the stream
                seed = None if self._begun else self.seeds[i]
                first, info = contract.first(env.reset(seed=seed))
                self._check(n, first)
                set_rows(obs, n, first)
                self._lives.begin(info, i)
            except BaseException as error:
                raise self._failed(n, error) from error
            # actions are recorded if the first environment can only be replayed
            if i == 0 and not self._begun and can_replay(env, capture(env)):
                self._recordings = [Recording(begun=False) for _ in self._envs]
            if self._recordings is not None:
                self._recordings[i].last_obs = first
        self._note_form(first)
        self._begun = True

    def step(
        self, action: Any, slot: HostSlot, active: np.ndarray | None = None
    ) -> list[tuple[int, Any]]:
        """See `HostEnv.step`."""
        # items are as from `sample`: arrays, also without axes, or NumPy integers
        actions: Any
        if self._choices is not None:
            choices = self._choices
            actions = [choices[i] for i in action.tolist()]
        else:
            actions = host_action(self.spec, action)
            if self._by_row:
                actions = {n: row(actions, n) for n in self.rows}
        # local names, since this loop runs for every environment step
        finals = []
        recordings = self._recordings
        obs, reward, terminated, truncated, start, _, life_lost = slot
        now, form, array = self.now, self._form, np.ndarray
        shape, dtype = form or (None, None)
        n, rows = self._first, slice(self._first, self._first + self.num_envs)
        # flags are cleared here, and set where an episode ends
        cleared = rows if active is None else np.flatnonzero(active[rows]) + n
        terminated[cleared] = truncated[cleared] = start[cleared] = False
        CALLS[get_ident()] = self
        try:
            for n, env in enumerate(self._envs, self._first):
                if active is not None and not active[n]:
                    continue
                # step, and check values that are not of the usual types
                now[0] = n
                after, value, ended, cut, info = env.step(actions[n])
                if not (
                    (value.__class__ is float or value.__class__ in NUMBERS)
                    and (ended is False or ended.__class__ in FLAGS)
                    and (cut is False or cut.__class__ in FLAGS)
                    and info.__class__ is dict
                ):
                    value, ended, cut = contract.outcome(value, ended, cut, info)
                # NumPy would broadcast a wrong shape into the row: check, cheaply if
                # shape and dtype are those of a checked observation
                if (
                    form is None
                    or after.__class__ is not array
                    or after.shape != shape
                    or after.dtype is not dtype
                ):
                    self._check(n, after)
                # write the results into row n
                reward[n] = value
                if life_lost is not None:
                    lost = self._lives.lost(info, n - self._first)
                    life_lost[n] = lost and not (ended or cut)
                if recordings is not None:
                    recordings[n - self._first].add(actions[n])
                if ended or cut:
                    terminated[n], truncated[n], start[n] = ended, cut, True
                    # keep the last observation, then reset
                    if active is None:
                        finals.append((n, copy_obs(after)))
                        after = self._next_episode(n - self._first)
                if recordings is not None:
                    recordings[n - self._first].last_obs = after
                if form is None:
                    set_rows(obs, n, after)
                else:
                    obs[n] = after
        except BaseException as error:
            raise self._failed(n, error) from error
        finally:
            CALLS.pop(get_ident(), None)
        self._steps += 1
        return finals

    def _next_episode(self, i: int) -> Any:
        """The first observation of another episode of environment i of these."""
        if self._recordings is not None:
            self._recordings[i].begin(self._envs[i])
        obs, info = contract.first(self._envs[i].reset())
        self._lives.begin(info, i)
        self._check(self._first + i, obs)
        return obs

    def take_raw_returns(self) -> list[list[float]] | None:
        """Returns beneath the wrappers of the episodes that ended since the last call.

        One list per environment; None if they are not recorded (`EnvFactory`).
        """
        levels = [level for env in self._envs for level in walk(env)]
        lists = [x.pgcli_raw_returns for x in levels if hasattr(x, "pgcli_raw_returns")]
        taken = [returns.copy() for returns in lists]
        for returns in lists:
            returns.clear()
        return taken or None

    def get_state(self) -> list[EnvState]:
        """See `Resumable.get_state`: one state per environment."""
        # a plain state if there is one, else a recording of the episode
        states = [capture(env) for env in self._envs]
        for i, (env, state) in enumerate(zip(self._envs, states, strict=True)):
            if can_replay(env, state):
                if self._recordings is None:
                    self._recordings = [Recording(begun=True) for _ in self._envs]
                states[i] = self._recordings[i].state(env, state.facts["reason"])
            states[i].facts["seed"] = self.seeds[i]
            states[i].facts["lives"] = int(self._lives.left[i])
        return states

    def set_state(self, states: list[EnvState]) -> None:
        """See `Resumable.set_state`."""
        if len(states) != self.num_envs:
            raise other_count(len(states), self.num_envs)
        # from another process, they come as lists
        states = [EnvState(*state) for state in states]
        with self._waits:
            self._set_state(states)

    def _set_state(self, states: list[EnvState]) -> None:
        # seed and reset each environment, then restore its state or replay its episode
        recordings = []
        for i, (env, state) in enumerate(zip(self._envs, states, strict=True)):
            n = self.now[0] = self._first + i
            try:
                self.seeds[i] = seed = int(state.facts["seed"])
                seed_spaces(env, seed)
                first = first_obs(env, state, seed)
                self._check(n, first)
                self._lives.put(int(state.facts["lives"]), i)
                if state.facts["way"] == "replay":
                    recordings.append(replay(env, state, first))
                else:
                    restore(env, state)
                    recordings.append(Recording(begun=True))
            except NotRestoredError as error:
                raise NotRestoredError(f"environment {n}: {error}") from error
            except KeyError as error:
                raise malformed(error) from error
        # recording continues only if at least one episode was replayed
        if any(state.facts["way"] == "replay" for state in states):
            self._recordings = recordings
        self._note_form(first)
        self._begun = True

    def close(self) -> None:
        """Closes every environment, ignoring their exceptions."""
        with self._waits:
            for env in self._envs:
                close_quietly(env)

    def _note_form(self, obs: Any) -> None:
        """Records shape and dtype of a checked observation, unless values matter."""
        if checked_by_form(self.spec.obs, obs):
            self._form = obs.shape, obs.dtype

    def _check(self, n: int, obs: Any) -> None:
        """Raises if an observation does not fit its space, or if its dtype changes.

        The dtypes of the first reset and the first step are both accepted: some
        environments return floats of two widths.
        """
        if obs.__class__ is np.ndarray and (obs.shape, obs.dtype) == self._form:
            return
        problem = complaint(self.spec.obs, obs)
        dtype = np.asarray(obs).dtype if isinstance(self.spec.obs, Box) else None
        if dtype not in self._dtypes:
            if self._steps:
                before = " or ".join(map(str, self._dtypes))
                problem = problem or f"changed its dtype from {before} to {dtype}"
            self._dtypes.append(dtype)
        if problem is not None:
            raise EnvironmentFailed(
                f"the observation of environment {n} {problem}, "
                f"at its step {self._steps}",
                where=where_is(self, n - self._first),
                help="wrap the environment so that its observations match its space",
            )

    @property
    def rows(self) -> range:
        """The rows of these environments."""
        return range(self._first, self._first + self.num_envs)

    def failure(self, how: str, **more: Any) -> EnvironmentFailed:
        """An error for the row being reset or stepped, with the reason `how`."""
        n = self.now[0]
        return EnvironmentFailed(
            f"{self._what(n)}: {how}", where=where_is(self, n - self._first), **more
        )

    def whereabouts(self) -> str:
        """See `Waited.whereabouts`."""
        n = self.now[0]
        seed = self.seeds[n - self._first]
        return f"step {self._steps} of environment {n} ({self.spec.id}, seed {seed})"

    def progress(self) -> object:
        """See `Waited.progress`."""
        return self._steps, self.now[0]

    def _what(self, n: int) -> str:
        return f"environment {n} failed at its step {self._steps}"

    def _failed(self, n: int, error: BaseException) -> PgcliError:
        error = contract.old_gym(error)
        if isinstance(error, ContractError):
            return EnvironmentFailed(
                f"the {error.field} of environment {n} {error.problem}, "
                f"at its step {self._steps}",
                where=where_is(self, n - self._first),
                help=error.help,
            )
        return failed(self._what(n), where_is(self, n - self._first), error)
