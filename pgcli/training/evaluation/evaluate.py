"""`evaluate`: independent evaluation of a saved agent."""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pgcli.arrays.statistics import Score, over_members, over_seeds, raw_scores
from pgcli.config.bounds import MAX_EPISODES
from pgcli.config.env_values import differences, with_values
from pgcli.config.load import resolve
from pgcli.config.schema import EnvConfig
from pgcli.envs import user_modules
from pgcli.envs.base import EnvSpec
from pgcli.errors import UsageError
from pgcli.nn.policy import Agent, Policy
from pgcli.runs_dir import RUNS_DIR
from pgcli.training.backend import accelerator
from pgcli.training.backend.memory import memory_errors
from pgcli.training.backend.precision import in_32_bits
from pgcli.training.evaluation.chance import CHANCE, NO_AGENT, chance_policy
from pgcli.training.evaluation.fit import check_fit
from pgcli.training.evaluation.on_screen import twin
from pgcli.training.evaluation.player import Player
from pgcli.training.evaluation.saved_agents import (
    Trained,
    find_checkpoint,
    load_agent,
    load_agents,
)


class _Subject(NamedTuple):
    """The agents to evaluate, one per member, and the environment of their training."""

    agents: Sequence[Agent]
    policy_for: Callable[[EnvSpec], Policy]
    env: EnvConfig
    trained: Sequence[Trained] = ()


@in_32_bits()
def evaluate(
    target: str | Path,
    *,
    runs_dir: str | Path = RUNS_DIR,
    agent: str = "trained",
    episodes: int = 100,
    best: bool = False,
    env_id: str | None = None,
    env_kwargs: Mapping[str, Any] | Sequence[str] = (),
    env_sets: Sequence[str] = (),
    deterministic: bool = True,
    seed: int = 0,
    num_envs: int | None = None,
    member: str | None = None,
    on_screen: bool = False,
    warn: Callable[[str], None] = lambda text: None,
    watch: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Statistics of an exact number of episodes played by a saved agent.

    The normalisation statistics of the agent stay frozen. Every environment plays a
    fixed quota, with seeds of the reporting stream, which neither training nor the
    choice of the best checkpoint uses.

    Args:
      target: path of a checkpoint, or path or name of a run; without a trained agent,
        also the id of an environment.
      runs_dir: directory of named runs.
      agent: `trained`, or `random` (actions as sampled from their space) or `zero`
        (the first action, or 0) in the environment of `target`.
      episodes: number of episodes, at least 1.
      best: whether to use a run's best checkpoint instead of its last.
      env_id: id of another environment with the same spaces.
      env_kwargs: arguments of the environment that differ from those of the training,
        as a mapping, or as texts of `--env-kwargs`.
      env_sets: other keys of `env` that differ, as texts `env.key=value`.
      deterministic: whether to play the most probable action instead of a sample.
      seed: seed of the episodes.
      num_envs: number of host environments; None for a divisor of `episodes`.
      member: text that identifies a member, `SEED[,KEY=VALUE…]`; None for all members.
      on_screen: whether to show one environment in a window, which plays all episodes.
      warn: called with warnings.
      watch: called repeatedly with the number of episodes that have ended, and of all.

    Returns:
      `ok, agent, run, checkpoint, iteration, algo, env, env_changes, seed,
      deterministic, episodes, return_mean, return_ci, return_std, return_median,
      return_min, return_max, length_mean, n_distinct`, and `per_episode`: a list of
      `episode, env, seed, return, length`. `run_seed` is the seed of the agent's
      training; `env_changes` are the keys of `env` that differ from it. For several
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
    if agent == "trained":
        subject = _trained(str(target), Path(runs_dir), best, member)
    else:
        subject = _chance(agent, str(target), Path(runs_dir))
        deterministic = agent == "zero"
    config = _environment(subject, env_id, env_kwargs, env_sets)
    if on_screen:
        config = twin(config)

    # the same episodes for every agent
    accelerator.start("auto", host_envs=not config.on_device, cpu_threads=1)
    with memory_errors():
        player = Player(
            config,
            subject.policy_for,
            episodes,
            deterministic,
            seed,
            num_envs,
            on_screen,
        )
        with contextlib.closing(player):
            each: list[dict[str, Any]] = []
            for one in subject.agents:
                before = episodes * len(each)

                def report(done: int, before: int = before) -> bool:
                    watch(before + done, episodes * len(subject.agents))
                    return False

                each.append(player.play(one, report))
    for text in player.news():
        warn(text)
    first = next(iter(subject.trained), None)
    result = {
        "ok": True,
        "agent": agent,
        "run": first and first.run,
        "checkpoint": first and str(first.path),
        "iteration": first and first.iteration,
        "algo": first and first.config.algo.name,
        "env": config.id,
        "env_changes": differences(subject.env, config),
        "seed": seed,
        "deterministic": deterministic,
    }
    if len(each) == 1:
        label = {"member": first.member.label} if first and first.member else {}
        return {**result, "run_seed": first and first.config.seed, **label, **each[0]}

    # several members: statistics over their means
    known = [each.member for each in subject.trained if each.member is not None]
    scores = np.array([played["return_mean"] for played in each])
    lengths = [played["length_mean"] for played in each]
    rows = [m.label | played for m, played in zip(known, each, strict=True)]
    cells = [Score(m.values, x) for m, x in zip(known, scores, strict=True)]
    result |= over_members(scores, episodes, lengths)
    raw = [played.get("raw_return_mean", np.nan) for played in each]
    result |= raw_scores(np.array(raw))
    return {**result, "members": rows, "cells": over_seeds(cells)}


def _trained(target: str, runs_dir: Path, best: bool, member: str | None) -> _Subject:
    """The agents of a checkpoint, all with the same spaces."""
    path = find_checkpoint(target, runs_dir, best)
    agents = load_agents(path) if member is None else [load_agent(path, member)]
    first = agents[0]

    def policy_for(spec: EnvSpec) -> Policy:
        check_fit(first, spec)
        return first.policy

    return _Subject([x.agent for x in agents], policy_for, first.config.env, agents)


def _chance(kind: str, target: str, runs_dir: Path) -> _Subject:
    """An agent without parameters, in the environment of a run or of an id."""
    if kind not in CHANCE:
        help = f"there are trained, {', '.join(CHANCE)}"
        raise UsageError(f"there is no agent `{kind}`", help=help)
    try:
        path = find_checkpoint(target, runs_dir)
    except UsageError:  # not a run: the environment as training would make it
        flags = {"env.id": (target, "--env")}
        env = resolve(file=None, flags=flags, sets=()).config.env
    else:
        trained = load_agents(path)[0]
        env = trained.config.env
        user_modules.require(trained.env_modules, str(path))
    return _Subject([NO_AGENT], lambda spec: chance_policy(spec, kind), env)


def _environment(
    subject: _Subject,
    env_id: str | None,
    env_kwargs: Mapping[str, Any] | Sequence[str],
    env_sets: Sequence[str],
) -> EnvConfig:
    """The environment of the training, or another id, with other values."""
    env = subject.env
    # another id: only wrappers, parts and mask are those of the training
    if env_id is not None and env_id != env.id:
        other = EnvConfig(env_id)
        wraps = not other.on_device and other.backend != "envpool"
        env = EnvConfig(
            env_id,
            wrappers=env.wrappers if wraps else None,
            obs_keys=env.obs_keys,
            action_mask=env.action_mask,
        )
    else:
        for trained in subject.trained:
            user_modules.require(trained.env_modules, str(trained.path))
    if isinstance(env_kwargs, Mapping):
        env_kwargs = [json.dumps(env_kwargs)] if env_kwargs else ()
    if env_kwargs or env_sets:
        env = with_values(env, env_sets, env_kwargs)
    return env
