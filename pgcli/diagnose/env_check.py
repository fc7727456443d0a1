"""`pgcli envs check`: findings about an environment, its speed, and suggestions."""

import contextlib
import dataclasses
from typing import Any

import jax

from pgcli.config.schema import NetworkConfig, RunConfig
from pgcli.diagnose.action_bounds import action_bounds
from pgcli.diagnose.host_env_check import Speed, check_host, measure_host, spec_of
from pgcli.diagnose.random_episodes import Finding
from pgcli.envs.base import EnvSpec, mask_source
from pgcli.envs.host.env_factory import EnvFactory, env_factory
from pgcli.envs.make import make_device_env, make_host_env
from pgcli.errors import PgcliError
from pgcli.nn.heads import make_head
from pgcli.nn.policy import Agent, make_policy
from pgcli.rollout.host_actor import make_actor
from pgcli.rollout.host_collector import HostCollector
from pgcli.training.backend import accelerator
from pgcli.training.backend.precision import in_32_bits
from pgcli.training.evaluation.fit import describe
from pgcli.training.loops import host_env_checkpoint

REPLAYED_STEPS = 64
"""Number of steps in which a copy is compared with its original."""

WORKER_STEP = 20.0
"""Step time in microseconds above which helpers may pay off."""


@in_32_bits()
def check_env(config: RunConfig, seconds: float) -> dict[str, Any]:
    """Findings about an environment, its speed, and suggestions for training.

    Only `env`, `network`, `host` and `accelerator` of the configuration are used.

    Returns:
      `ok, env, backend, spaces {obs, action}, max_episode_steps, findings
      [{level, message, help}], speed {step_us, reset_us, steps_per_second},
      suggestions [text]`.

    Raises:
      UsageError: the environment is unknown or not installed.
      EnvironmentFailed: it cannot be created, or no policy supports its spaces.
    """
    # the back end decides which checks apply; speed is measured only without errors
    device = config.env.on_device
    speed, suggestions = None, list[str]()
    accelerator.start(config.accelerator, host_envs=not device, cpu_threads=1)
    if device:
        from pgcli.diagnose.device_env_check import check_device, measure_device

        env = make_device_env(config.env)
        spec, findings = env.spec, check_device(env)
        if not _failed(findings):
            speed = measure_device(env, config.env.num_envs, seconds)
    else:
        factory = env_factory(config.env)
        spec, findings = spec_of(factory), check_host(factory)
        if not _failed(findings):
            speed = measure_host(factory, seconds)
            suggestions = _suggest(factory, speed)
    # checks of the agent on these spaces, and of a resumed run
    findings += [*action_bounds(spec, config), _policy(spec, config.network)]
    if (source := mask_source(spec.obs)) is not None:
        findings.append(Finding("ok", f"{source} is the mask of valid actions"))
    if not device and not _failed(findings):
        findings.append(_resume(config))
    return {
        "ok": not _failed(findings),
        "env": config.env.id,
        "backend": "device" if device else "host",
        "spaces": {"obs": describe(spec.obs), "action": describe(spec.action)},
        "max_episode_steps": spec.max_episode_steps,
        "findings": [finding._asdict() for finding in findings],
        "speed": speed and speed.rounded(),
        "suggestions": suggestions,
    }


def _failed(findings: list[Finding]) -> bool:
    return any(finding.level == "error" for finding in findings)


def _policy(spec: EnvSpec, network: NetworkConfig) -> Finding:
    try:
        make_head(spec, network)
    except PgcliError as error:
        return Finding("error", error.message, error.help)
    return Finding("ok", "a policy supports its spaces")


def _resume(config: RunConfig) -> Finding:
    """Checks whether a stopped run can continue its episodes exactly."""
    try:
        reason = _why_not_exact(config)
    except PgcliError as error:
        return Finding("error", error.message, error.help)
    if reason is None:
        return Finding("ok", "a stopped run resumes exactly")
    return Finding(
        "warning",
        f"a stopped run resumes with new episodes: {reason}",
        "nothing learned is lost; only --require-exact refuses this",
    )


def _why_not_exact(config: RunConfig) -> str | None:
    """The reason why a run cannot be resumed exactly, or None.

    A copy of the first environment must reproduce the second of two rollouts.
    """
    # an untrained agent on the configured environments
    seeds = list(range(config.env.num_envs))
    host = make_host_env(config.env, seeds, vectorizer=config.host.vectorizer)
    with contextlib.closing(host) as env:
        policy = make_policy(env.spec, config.network)
        actor = make_actor(config.host, config.network, env.spec, policy)
        collector = HostCollector(env, policy, REPLAYED_STEPS, actor)
        keys = jax.random.split(jax.random.key(0), 3)
        agent = Agent(policy.init(keys[0]), None)
        # the states between two rollouts, and the second rollout as a reference
        collector.collect(agent, keys[1])
        states, reason = host_env_checkpoint.take(env)
        if reason is not None:
            return reason
        seen = collector.collect(agent, keys[2])
        return host_env_checkpoint.mismatch(config, policy, states, seen, "steps")


def _suggest(factory: EnvFactory, speed: Speed) -> list[str]:
    """Settings that may make collection faster."""
    suggestions = []
    # a native vector environment; it does not support wrappers
    env = dataclasses.replace(factory, wrappers=())()
    native = env.spec.vector_entry_point is not None
    env.close()
    if native and not factory.wrappers:
        suggestions.append(
            "it has its own vector entry point: --set host.vectorizer=native"
        )
    # helpers, if a step is long compared with handing it over
    elif speed.step >= WORKER_STEP:
        suggestions.append(
            "a step may be slow enough for a thread or worker processes to help: "
            "host.workers, whose default `auto` compares the measured time of a step "
            "with the cost of handing it to another process"
        )
    # one reset costs more than many steps
    if speed.reset > 100 * speed.step:
        ratio = speed.reset / speed.step
        suggestions.append(
            f"a reset takes as long as {ratio:,.0f} steps: make it faster"
        )
    return suggestions
