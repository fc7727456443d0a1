"""Natively vectorised environments, their autoreset mapped to ours.

Gymnasium's vector environments reset in one of three ways:

* NEXT_STEP: the step after an episode's end ignores the action and returns the reset
  observation. That row is not a transition (`real` is False). It acts on the final
  observation of the episode, so no other copy is needed.
* SAME_STEP: the step returns the reset observation, and the last one in `final_obs`.
* DISABLED: we reset the environments that ended, by a mask.

The valid rows of `final_obs` are determined from the flags of the step, since not every
environment (ale_py's) returns a mask.
"""

from typing import Any

import numpy as np

from pgcli.envs.actions import host_action
from pgcli.envs.base import EnvState, HostSlot, mask_source
from pgcli.envs.failures import close_quietly, failed
from pgcli.envs.host import contract
from pgcli.envs.host.contract import ContractError
from pgcli.envs.host.env_factory import EnvFactory
from pgcli.envs.host.lives import Lives
from pgcli.envs.host.obs_space_check import checked_by_form, complaint
from pgcli.envs.obs_trees import copy_obs, rows, set_rows
from pgcli.envs.registry import unusable
from pgcli.envs.spaces import from_gymnasium, make_spec
from pgcli.envs.state.capture import capture, malformed, restore, seed_spaces
from pgcli.envs.waiting import Waits
from pgcli.errors import CheckpointError, EnvironmentFailed, PgcliError, UsageError


class NativeVector:
    """A `gymnasium.vector.VectorEnv` under our contract."""

    def __init__(
        self,
        env: Any,
        seeds: list[int],
        env_id: str,
        limit: int | None,
        *,
        seeded: bool = False,
    ) -> None:
        """Takes ownership of `env`; `seeded` if that was done when it was made.

        An environment with one random stream for all is seeded with the first of
        `seeds`.
        """
        from gymnasium.vector import AutoresetMode

        self.num_envs = env.num_envs
        self.spec = make_spec(
            env_id, env.single_observation_space, env.single_action_space, limit
        )
        # Gymnasium's default if the environment does not declare a mode
        mode = env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._mode = AutoresetMode(mode)
        seed_spaces(env, seeds[0])
        self._env = env
        self._waits = Waits(self)
        self.seeds = seeds
        self._steps = 0
        # (shape, dtype) of checked observations
        self._form: tuple[Any, Any] | None = None
        self._begun = seeded
        self._lives = Lives(self.num_envs, env_id)
        self._done = np.zeros(self.num_envs, bool)

    @classmethod
    def make(cls, factory: EnvFactory, seeds: list[int]) -> "NativeVector":
        """One environment per seed, by the environment's own vector entry point.

        Raises a UsageError if it has none.
        """
        import gymnasium

        # one environment, for its registered time limit and entry point
        single = factory()
        spec, limit = single.spec, single.spec.max_episode_steps
        masks = mask_source(from_gymnasium(single.observation_space, factory.id))
        single.close()
        if spec.vector_entry_point is None:
            raise UsageError(
                f"environment `{factory.id}` has no vector entry point of its own",
                help="set host.vectorizer to in_process",
            )
        if masks is not None:
            raise UsageError(
                f"native vector environments have no action masks, here {masks}",
                where=f"environment {factory.id}",
                help="set host.vectorizer to in_process, or env.action_mask to off",
            )
        # wrappers are not applied: the configuration allows none here
        kwargs = dict(factory.kwargs)
        if factory.max_episode_steps is not None:
            kwargs["max_episode_steps"] = factory.max_episode_steps
        try:
            env = gymnasium.make_vec(
                factory.name,
                num_envs=len(seeds),
                vectorization_mode="vector_entry_point",
                **kwargs,
            )
        except BaseException as error:
            raise unusable(factory.id, error) from error
        return cls(env, seeds, factory.id, limit)

    def reset(self, obs: Any) -> None:
        """Begins an episode in each environment; writes the observations into `obs`."""
        try:
            with self._waits:
                set_rows(obs, ..., self._first())
        except BaseException as error:
            raise self._failed("reset", error) from error
        self._done[:] = False

    def _first(self) -> Any:
        returned = self._env.reset() if self._begun else self._seeded_reset()
        obs, info = contract.first(returned)
        self._check(obs)
        self._begun = True
        self._lives.begin(info)
        return obs

    def _check(self, obs: Any) -> None:
        """Raises if observations do not fit their space; cheap for a known form."""
        form = (getattr(obs, "shape", None), getattr(obs, "dtype", None))
        if form == self._form:
            return
        problem = complaint(self.spec.obs, obs, (self.num_envs,))
        if problem is not None:
            help = "wrap the environment so that its observations match its space"
            raise ContractError("observation", problem, help)
        if checked_by_form(self.spec.obs, obs):
            self._form = form

    def _seeded_reset(self) -> Any:
        """The first reset: seeds as a list (Gymnasium), an array (ale_py), or one."""
        from gymnasium.error import Error

        for seed in (self.seeds, np.asarray(self.seeds)):
            try:
                return self._env.reset(seed=seed)
            except (TypeError, ValueError, Error):
                continue
        return self._env.reset(seed=self.seeds[0])

    def get_state(self) -> list[EnvState]:
        """See `Resumable.get_state`: one state for all environments."""
        state = capture(self._env)
        own = {
            "seeds": [int(seed) for seed in self.seeds],
            "done": self._done.tolist(),
            "lives": self._lives.left.tolist(),
        }
        return [EnvState({**state.facts, **own}, state.arrays)]

    def set_state(self, states: list[EnvState]) -> None:
        """See `Resumable.set_state`."""
        if len(states) != 1 or len(states[0].facts.get("done", ())) != self.num_envs:
            raise CheckpointError(
                f"the states of {len(states)} environments are in the checkpoint; one "
                f"of {self.num_envs} side by side is in this configuration"
            )
        # reset with the stored seeds first: some objects are created at the first reset
        (state,) = states
        try:
            self.seeds = [int(seed) for seed in state.facts["seeds"]]
            lives = np.array(state.facts["lives"], np.int64)
            self._first()
            self._lives.put(lives)
            self._done[:] = state.facts["done"]
        except (KeyError, TypeError, ValueError) as error:
            raise malformed(error) from error
        restore(self._env, state)

    def step(
        self, action: Any, slot: HostSlot, active: np.ndarray | None = None
    ) -> list[tuple[int, Any]]:
        """See `HostEnv.step`."""
        try:
            with self._waits:
                return self._step(host_action(self.spec, action), slot)
        except BaseException as error:
            raise self._failed(f"step {self._steps}", error) from error

    def whereabouts(self) -> str:
        """See `Waited.whereabouts`."""
        return f"step {self._steps} of {self.num_envs} environments ({self.spec.id})"

    def progress(self) -> object:
        """See `Waited.progress`."""
        return self._steps

    def _failed(self, when: str, error: BaseException) -> PgcliError:
        where = f"environment {self.spec.id}, seed {self.seeds[0]}"
        cause = contract.old_gym(error)
        if isinstance(cause, ContractError):
            return EnvironmentFailed(
                f"{cause}, at {when}", where=where, help=cause.help
            )
        return failed(f"failed at {when}", where, error)

    def _step(self, action: Any, slot: HostSlot) -> list[tuple[int, Any]]:
        from gymnasium.vector import AutoresetMode

        obs, reward, terminated, truncated, info = self._env.step(action)
        self._steps += 1
        # results of the step, before any reset of ours
        count = self.num_envs
        contract.check_info(info)
        self._check(obs)
        slot.reward[:] = contract.columns("reward", reward, "fiub", count)
        slot.terminated[:] = contract.columns(
            "flag `terminated`", terminated, "b", count
        )
        slot.truncated[:] = contract.columns("flag `truncated`", truncated, "b", count)
        finals = []
        # rows that ended in the last step are resets now, and not transitions
        if self._mode is AutoresetMode.NEXT_STEP:
            np.logical_not(self._done, out=slot.real)
            np.logical_not(slot.real, out=slot.start)
            np.logical_or(slot.terminated, slot.truncated, out=self._done)
        else:
            done = np.logical_or(slot.terminated, slot.truncated, out=slot.start)
            # last observations of episodes, copied before a reset
            if done.any():
                same_step = self._mode is AutoresetMode.SAME_STEP
                final_obs = info["final_obs"] if same_step else obs
                finals = [
                    (int(n), copy_obs(rows(final_obs, n))) for n in np.flatnonzero(done)
                ]
            if self._mode is AutoresetMode.DISABLED and done.any():
                options = {"reset_mask": done.copy()}
                obs, info = contract.first(self._env.reset(options=options))
                self._check(obs)
        # next observations, and lost lives of unfinished episodes
        set_rows(slot.obs, ..., obs)
        if slot.life_lost is not None:
            lost = self._lives.lost(info) & slot.real
            slot.life_lost[:] = lost & ~slot.terminated & ~slot.truncated
        return finals

    def close(self) -> None:
        """Closes the vector environment."""
        close_quietly(self._env)
