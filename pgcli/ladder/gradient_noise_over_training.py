"""Gradient noise at two points: before training and after a short training."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax

from pgcli.config.schema import RunConfig
from pgcli.envs.make import make_device_env, make_host_env
from pgcli.errors import UsageError
from pgcli.ladder.gradient_noise import measure
from pgcli.nn.policy import Agent, Policy
from pgcli.rollout.device_episode_collector import collect_episodes
from pgcli.rollout.host_episode_collector import EpisodeCollector
from pgcli.rollout.types import Transitions
from pgcli.training.backend import accelerator
from pgcli.training.backend.precision import in_32_bits
from pgcli.training.loops.device_loop import DeviceLoop
from pgcli.training.loops.host_loop import HostLoop
from pgcli.training.seeds import env_seeds, role_key

CHUNK_SECONDS = 0.5
MAX_HOST_ENVS = 16

Collect = Callable[[Agent, Any], Transitions]


@in_32_bits()
def gradient_variance(
    config: RunConfig, *, steps: int, episodes: int, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Noise over signal of every weight Ψ, for an untrained and a trained policy.

    At both points it is measured on at least 3 `episodes`. Raises a UsageError if the
    environment has no time limit.

    Returns:
      `ok, env, algo, seed, episodes, gamma, points`.
    """
    device = config.env.on_device
    accelerator.start(
        config.accelerator, host_envs=not device, cpu_threads=os.cpu_count() or 1
    )
    loop: DeviceLoop | HostLoop
    loop = (
        DeviceLoop(config, make_device_env(config.env)) if device else HostLoop(config)
    )
    limit = loop.setup.spec.max_episode_steps
    if limit is None:
        raise UsageError(
            f"whole episodes are needed, but {config.env.id} has no time limit",
            help="--set env.max_episode_steps=N",
        )
    collector = _device_collector if device else _host_collector
    gamma = getattr(config.algo, "gamma", None)
    points = []
    with (
        contextlib.closing(loop),
        collector(config, loop.setup.policy, episodes, limit) as collect,
    ):
        for target, label in ((0, "fresh"), (steps, "trained")):
            while loop.steps < target:
                tell(f"training {config.algo.name}: {loop.steps:,} of {target:,} steps")
                loop.advance(target, CHUNK_SECONDS)
            tell(f"{label} policy: {episodes} episodes, then their gradients")
            keys = jax.random.split(
                jax.random.fold_in(role_key(config.seed, "reporting"), target), 3
            )
            agent = loop.agent()
            noise = measure(
                loop.setup.policy,
                agent,
                collect(agent, keys[0]),
                collect(agent, keys[1]),
                None if gamma == 1 else gamma,
                keys[2],
            )
            points.append({"policy": label, "steps": loop.steps, **noise})
    return {
        "ok": True,
        "env": config.env.id,
        "algo": config.algo.name,
        "seed": config.seed,
        "episodes": episodes,
        "gamma": gamma,
        "points": points,
    }


@contextlib.contextmanager
def _device_collector(
    config: RunConfig, policy: Policy, episodes: int, limit: int
) -> Iterator[Collect]:
    """A function that collects `episodes` whole episodes on the device."""
    env = make_device_env(config.env)

    def collect(agent: Agent, key: Any) -> Transitions:
        return collect_episodes(env, policy, agent, key, episodes, limit)

    yield jax.jit(collect)


@contextlib.contextmanager
def _host_collector(
    config: RunConfig, policy: Policy, episodes: int, limit: int
) -> Iterator[Collect]:
    """A function that collects `episodes` whole episodes from host environments."""
    num_envs = max(n for n in range(1, MAX_HOST_ENVS + 1) if episodes % n == 0)
    seeds = env_seeds(config.seed, "reporting", num_envs)
    env = make_host_env(
        config.env,
        seeds,
        vectorizer=config.host.vectorizer,
        workers=config.host.workers,
        timeout=config.host.timeout,
    )
    with contextlib.closing(env):
        yield EpisodeCollector(env, policy, episodes // num_envs, limit).collect
