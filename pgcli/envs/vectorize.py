"""Gymnasium environments stepped one after the other in this process."""

from typing import Any

import numpy as np

from pgcli.config.schema import EnvConfig
from pgcli.envs.base import Discrete, EnvSpec, HostSlot, env_action
from pgcli.envs.lives import Lives
from pgcli.envs.spaces import from_gymnasium
from pgcli.errors import EnvironmentFailed, PgcliError


def set_row(target: Any, row: int, obs: Any) -> None:
    """Writes one observation into row `row` of buffers [N, …]."""
    if isinstance(target, dict):
        for name, part in target.items():
            set_row(part, row, obs[name])
    else:
        target[row] = obs


def copy_obs(obs: Any) -> Any:
    """A copy that the environment cannot overwrite."""
    if isinstance(obs, dict):
        return {name: copy_obs(part) for name, part in obs.items()}
    return np.array(obs)


class InProcess:
    """N environments that begin a new episode in the step that ends one.

    Each is seeded once and goes on from there; environment n never sees another's
    random numbers.
    """

    def __init__(self, envs: list[Any], seeds: list[int], env_id: str) -> None:
        """Takes ownership of `envs`.

        Args:
          envs: environments with the same spaces.
          seeds: one per environment, for its first reset.
          env_id: how errors name them.
        """
        self.num_envs = len(envs)
        limit = getattr(envs[0].spec, "max_episode_steps", None)
        self.spec = EnvSpec(
            env_id,
            from_gymnasium(envs[0].observation_space, env_id),
            from_gymnasium(envs[0].action_space, env_id),
            limit,
        )
        self._envs = envs
        self._seeds = seeds
        self._steps = 0
        self._begun = False
        self._lives = Lives(self.num_envs, env_id)
        self._discrete = isinstance(self.spec.action, Discrete)

    @classmethod
    def make(cls, config: EnvConfig, seeds: list[int]) -> "InProcess":
        """Environments by their Gymnasium id."""
        from pgcli.envs.registry import make_gymnasium

        return cls([make_gymnasium(config) for _ in seeds], seeds, config.id)

    def reset(self, obs: Any) -> None:
        """Begins an episode everywhere; writes the observations into `obs`."""
        for n, env in enumerate(self._envs):
            try:
                # seeded once: from then on a stream goes on, and repeats no episode
                seed = None if self._begun else self._seeds[n]
                first, info = env.reset(seed=seed)
                set_row(obs, n, first)
                self._lives.begin(info, n)
            except Exception as error:
                raise self._failed(n, error) from error
        self._begun = True

    def step(
        self, action: np.ndarray, slot: HostSlot, active: np.ndarray | None = None
    ) -> list[tuple[int, Any]]:
        """See `HostEnv.step`."""
        actions = env_action(self.spec.action, action)
        actions = actions.tolist() if self._discrete else actions
        finals = []
        obs, reward, terminated, truncated, start, _, life_lost = slot
        n = 0
        try:
            for n, env in enumerate(self._envs):
                if active is not None and not active[n]:
                    continue
                after, reward[n], ended, cut, info = env.step(actions[n])
                terminated[n] = ended
                truncated[n] = cut
                start[n] = ended or cut
                if life_lost is not None:
                    life_lost[n] = self._lives.lost(info, n) and not start[n]
                if active is None and (ended or cut):
                    if not ended:
                        finals.append((n, copy_obs(after)))
                    after, info = env.reset()
                    self._lives.begin(info, n)
                if isinstance(obs, dict):
                    set_row(obs, n, after)
                else:
                    obs[n] = after
        except Exception as error:
            raise self._failed(n, error) from error
        self._steps += 1
        return finals

    def close(self) -> None:
        """Closes every environment."""
        for env in self._envs:
            env.close()

    def _failed(self, n: int, error: Exception) -> PgcliError:
        if isinstance(error, PgcliError):
            return error
        return EnvironmentFailed(
            f"environment {n} failed at its step {self._steps}: "
            f"{type(error).__name__}: {error}",
            where=f"environment {self.spec.id}, seed {self._seeds[n]}",
        )
