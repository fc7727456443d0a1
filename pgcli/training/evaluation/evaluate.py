"""`evaluate`: independent evaluation of a saved agent."""

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pgcli.arrays.statistics import (
    Score,
    over_members,
    over_seeds,
    raw_scores,
    summarize,
)
from pgcli.config.bounds import MAX_EPISODES
from pgcli.config.schema import EnvConfig, HostConfig
from pgcli.envs import user_modules
from pgcli.envs.base import (
    Box,
    Discrete,
    EnvSpec,
    MultiBinary,
    MultiDiscrete,
    ObsSpace,
    Space,
)
from pgcli.envs.make import make_device_env
from pgcli.errors import CheckpointError, UsageError
from pgcli.nn.policy import Agent
from pgcli.runs_dir import RUNS_DIR
from pgcli.training.backend import accelerator
from pgcli.training.backend.memory import memory_errors
from pgcli.training.backend.precision import in_32_bits
from pgcli.training.evaluation.device import checked, evaluate_on_device, gather
from pgcli.training.evaluation.host import HostEvaluator, eval_envs
from pgcli.training.evaluation.host_envs import EvaluationEnvs
from pgcli.training.evaluation.load_policy import (
    Trained,
    find_checkpoint,
    load_agent,
    load_agents,
)
from pgcli.training.seeds import env_seeds, role_key


@in_32_bits()
def evaluate(
    target: str | Path,
    *,
    runs_dir: str | Path = RUNS_DIR,
    episodes: int = 100,
    best: bool = False,
    env_id: str | None = None,
    deterministic: bool = True,
    seed: int = 0,
    num_envs: int | None = None,
    member: str | None = None,
    warn: Callable[[str], None] = lambda text: None,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Statistics of an exact number of episodes played by a saved agent.

    The normalisation statistics of the agent stay frozen. Every environment plays a
    fixed quota, with seeds of the reporting stream, which neither training nor the
    choice of the best checkpoint uses.

    Args:
      target: path of a checkpoint, or path or name of a run.
      runs_dir: directory of named runs.
      episodes: number of episodes, at least 1.
      best: whether to use a run's best checkpoint instead of its last.
      env_id: id of another environment with the same spaces.
      deterministic: whether to play the most probable action instead of a sample.
      seed: seed of the episodes.
      num_envs: number of host environments; None for a divisor of `episodes`.
      member: text that identifies a member, `SEED[,KEY=VALUE…]`; None for all members.
      warn: called with warnings.
      watch: called repeatedly with the number of episodes that have ended, and of all.

    Returns:
      `ok, run, checkpoint, iteration, algo, env, seed, deterministic, episodes,
      return_mean, return_ci, return_std, return_median, return_min, return_max,
      length_mean, n_distinct`, and `per_episode`: a list of `episode, env, seed,
      return, length`. `run_seed` is the seed of the agent's training. For several
      members, the statistics are over their mean returns, `members` contains one entry
      per member with its own `per_episode`, and `cells` the statistics of each
      combination of a grid's values.

    Raises:
      UsageError: the run or the environment does not exist.
      CheckpointError: the checkpoint is damaged or does not fit the environment.
      EnvironmentFailed: the environment failed, or returned a value that is not finite.
      DivergedError: an action was not finite.
    """
    if not 1 <= episodes <= MAX_EPISODES:
        raise UsageError(f"episodes is {episodes}; it must be 1 to {MAX_EPISODES:,}")
    # the agents, and the environment to play in
    path = find_checkpoint(str(target), Path(runs_dir), best)
    agents = load_agents(path) if member is None else [load_agent(path, member)]
    trained = agents[0]
    config = trained.config.env
    if env_id is not None and env_id != config.id:
        wrappers = None if EnvConfig(env_id).on_device else config.wrappers
        config = EnvConfig(env_id, wrappers=wrappers)
    else:
        user_modules.require(trained.env_modules, str(path))

    # the same episodes for every agent
    accelerator.start("auto", host_envs=not config.on_device, cpu_threads=1)
    with memory_errors():
        player = _Episodes(config, trained, episodes, deterministic, seed, num_envs)
        with contextlib.closing(player):
            each: list[dict[str, Any]] = []
            for agent in agents:
                before = episodes * len(each)

                def told(done: int, before: int = before) -> bool:
                    watch(before + done, episodes * len(agents))
                    return False

                each.append(player.play(agent.agent, told))
    for text in player.news():
        warn(text)
    result = {
        "ok": True,
        "run": trained.run,
        "checkpoint": str(trained.path),
        "iteration": trained.iteration,
        "algo": trained.config.algo.name,
        "env": config.id,
        "seed": seed,
        "deterministic": deterministic,
    }
    if len(agents) == 1:
        label = {"member": trained.member.label} if trained.member else {}
        return {**result, "run_seed": trained.config.seed, **label, **each[0]}

    # several members: statistics over their means
    known = [agent.member for agent in agents if agent.member is not None]
    scores = np.array([played["return_mean"] for played in each])
    lengths = [played["length_mean"] for played in each]
    rows = [m.label | played for m, played in zip(known, each, strict=True)]
    cells = [Score(m.values, x) for m, x in zip(known, scores, strict=True)]
    result |= over_members(scores, episodes, lengths)
    raw = [played.get("raw_return_mean", np.nan) for played in each]
    result |= raw_scores(np.array(raw))
    return {**result, "members": rows, "cells": over_seeds(cells)}


class _Episodes:
    """A player of the same episodes for several agents."""

    def __init__(
        self,
        config: EnvConfig,
        trained: Trained,
        episodes: int,
        deterministic: bool,
        seed: int,
        num_envs: int | None,
    ) -> None:
        self._config, self._trained, self._seed = config, trained, seed
        self._episodes = episodes
        self._key = role_key(seed, "reporting")
        self._envs: EvaluationEnvs | None = None
        if config.on_device:
            env = make_device_env(config)
            check_fit(trained, env.spec)
            self._spec = env.spec
            policy = trained.policy
            self._device = jax.jit(
                partial(evaluate_on_device, env, policy, episodes, deterministic)
            )
            return
        self._count = num_envs or eval_envs(episodes)
        self._host = HostEvaluator(trained.policy, deterministic)
        self._envs = EvaluationEnvs(config, HostConfig())

    def news(self) -> list[str]:
        """Messages about the environments."""
        return [] if self._envs is None else self._envs.news

    def close(self) -> None:
        """Closes the environments."""
        if self._envs is not None:
            self._envs.close()

    def play(self, agent: Agent, stop: Callable[[int], bool]) -> dict[str, Any]:
        """Statistics of the returns, and `per_episode`; `stop` as for a loop."""
        # E episodes, and the seeds of their environments: [E]
        if self._envs is None:
            each = gather([self._device(agent, self._key)], self._episodes)
            played = checked(each, self._spec, self._seed)
            seeds = [self._seed] * self._episodes
        else:
            env_seed = env_seeds(self._seed, "reporting", self._count)
            with self._envs.begin(env_seed) as (env, obs):
                check_fit(self._trained, env.spec)
                played = self._host.play(
                    env, agent, self._episodes, self._key, stop, obs
                )
            self._envs.note_cuts(played.lengths)
            seeds = [env_seed[n] for n in played.envs]

        # one row per episode
        rows = [
            {"episode": i, "env": int(n), "seed": s}
            | {"return": float(r), "length": int(k)}
            for i, (n, s, r, k) in enumerate(
                zip(played.envs, seeds, played.returns, played.lengths, strict=True)
            )
        ]
        if not np.isnan(played.raw).any():
            for row, raw in zip(rows, played.raw, strict=True):
                row["raw_return"] = float(raw)
        return {**summarize(*played[:4]), "per_episode": rows}


def _shapes(space: ObsSpace) -> Any:
    """Shapes and dtypes of a space, which determine the network; bounds do not."""
    if isinstance(space, Discrete):
        return space.n
    if isinstance(space, MultiDiscrete):
        return (space.shape, space.nvec)
    if isinstance(space, Space):
        return (space.shape, space.dtype)
    return {name: _shapes(part) for name, part in space.items()}


def check_fit(trained: Trained, spec: EnvSpec) -> None:
    """Checks that an environment has the spaces that the agent was trained on.

    Raises:
      CheckpointError: observations or actions differ; the message names both sides.
    """
    for what, ours, theirs in (
        ("observations", trained.spec.obs, spec.obs),
        ("actions", trained.spec.action, spec.action),
    ):
        if _shapes(ours) != _shapes(theirs):
            raise CheckpointError(
                f"{what} of {spec.id} are {describe(theirs)}, "
                f"the agent was trained on {describe(ours)}",
                where=str(trained.path),
            )


def describe(space: ObsSpace) -> str:
    """A space as text."""
    if isinstance(space, Box):
        return f"{space.dtype}{list(space.shape)}"
    if isinstance(space, Discrete):
        return f"Discrete({space.n})"
    if isinstance(space, MultiDiscrete):
        return f"MultiDiscrete({list(space.nvec)})"
    if isinstance(space, MultiBinary):
        return f"MultiBinary({list(space.shape)})"
    parts = (f"{name}: {describe(part)}" for name, part in sorted(space.items()))
    return "{" + ", ".join(parts) + "}"
