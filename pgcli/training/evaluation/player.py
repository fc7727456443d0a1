"""A player of the same episodes for several agents, on the device or the host."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pgcli.arrays.statistics import summarize
from pgcli.config.schema import EnvConfig, HostConfig
from pgcli.envs.base import EnvSpec, ObsSpace
from pgcli.envs.make import make_device_env
from pgcli.nn.policy import Agent, Policy
from pgcli.rollout.bounds import BoundsWarning
from pgcli.training.evaluation.device import DeviceEvaluator
from pgcli.training.evaluation.episodes import Episodes
from pgcli.training.evaluation.host import HostEvaluator, eval_envs
from pgcli.training.evaluation.host_envs import EvaluationEnvs
from pgcli.training.evaluation.on_screen import shown
from pgcli.training.seeds import env_seeds, role_key


class Player:
    """A player of the same episodes for several agents."""

    def __init__(
        self,
        config: EnvConfig,
        policy_for: Callable[[EnvSpec], Policy],
        episodes: int,
        deterministic: bool,
        seed: int,
        num_envs: int | None = None,
        on_screen: bool = False,
    ) -> None:
        """Makes an environment on the device; those of the host follow when they play.

        `policy_for` returns the policy for the spaces, or raises an error. On the host
        there are `num_envs` environments, or as many as divide the episodes; one in a
        window.
        """
        self._episodes, self._seed = episodes, seed
        self._key = role_key(seed, "reporting")
        self._policy_for, self._deterministic = policy_for, deterministic
        self._news: list[str] = []
        self._host: HostEvaluator | None = None
        self._envs: EvaluationEnvs | None = None
        if config.on_device:
            env = make_device_env(config)
            self._device = DeviceEvaluator(
                env, policy_for(env.spec), episodes, deterministic
            )
        else:
            self._count = 1 if on_screen else num_envs or eval_envs(episodes)
            host = HostConfig(vectorizer="in_process" if on_screen else None)
            self._envs = EvaluationEnvs(shown(config) if on_screen else config, host)

    def news(self) -> list[str]:
        """Messages about the environments."""
        return self._news + ([] if self._envs is None else self._envs.news)

    def _note_bounds(self, space: ObsSpace, found: np.ndarray | None) -> None:
        """Adds the warning for observations outside of their bounds, once."""
        if not self._news:
            self._news += BoundsWarning(space).news(found, None)

    def close(self) -> None:
        """Closes the environments."""
        if self._envs is not None:
            self._envs.close()

    def play(self, agent: Agent, stop: Callable[[int], bool]) -> dict[str, Any]:
        """Statistics of the returns, and `per_episode`; `stop` as for a loop."""
        # E episodes, and the seeds of their environments: [E]
        if self._envs is None:
            played = self._device.play(agent, self._key, self._seed, stop)
            self._note_bounds(self._device.spec.obs, self._device.outside)
            return _statistics(played, [self._seed] * self._episodes)
        env_seed = env_seeds(self._seed, "reporting", self._count)
        with self._envs.begin(env_seed) as (env, obs):
            if self._host is None:
                policy = self._policy_for(env.spec)
                self._host = HostEvaluator(policy, self._deterministic)
            played = self._host.play(env, agent, self._episodes, self._key, stop, obs)
            self._note_bounds(env.spec.obs, self._host.outside)
            self._host.watch_bounds = not self._news
        self._envs.note_cuts(played.lengths)
        return _statistics(played, [env_seed[n] for n in played.envs])


def _statistics(played: Episodes, seeds: list[int]) -> dict[str, Any]:
    """Statistics of the returns, and `per_episode` with one row per episode."""
    rows = [
        {"episode": i, "env": int(n), "seed": s}
        | {"return": float(r), "length": int(k)}
        | ({} if np.isnan(raw) else {"raw_return": float(raw)})
        for i, (n, s, r, k, raw) in enumerate(
            zip(
                played.envs,
                seeds,
                played.returns,
                played.lengths,
                played.raw,
                strict=True,
            )
        )
    ]
    return {**summarize(*played[:4]), "per_episode": rows}
