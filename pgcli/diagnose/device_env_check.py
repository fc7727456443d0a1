"""Checks of an on-device environment against its contract, and its speed."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pgcli.diagnose.host_env_check import Speed
from pgcli.diagnose.random_episodes import Finding, Wrong
from pgcli.envs.actions import random_action
from pgcli.envs.base import Box, DeviceEnv, ObsSpace, limits, mask_key
from pgcli.envs.device.contract import check_contract
from pgcli.envs.failures import PASSED, place
from pgcli.errors import EnvironmentFailed
from pgcli.nn.policy import act, draw_noise
from pgcli.rollout.bounds import BoundsWarning, outside
from pgcli.training.evaluation.chance import NO_AGENT, chance_policy

NUM_ENVS, NUM_STEPS = 16, 128


def check_device(env: DeviceEnv) -> list[Finding]:
    """Findings about an on-device environment."""
    findings: list[Finding] = []
    for what, part in (("tracing", _shapes), ("playing", _episodes)):
        try:
            findings += part(env)
        except Wrong as wrong:
            return [*findings, wrong.finding]
        except EnvironmentFailed as error:
            return [*findings, Finding("error", error.message, error.help)]
        except PASSED:
            raise
        except BaseException as error:
            first = str(error).strip().partition("\n")[0]
            message = f"{what}: {type(error).__name__}: {first}"
            help = f"raised at {place(error)}; see `--debug`"
            return [*findings, Finding("error", message, help)]
    return findings


def _shapes(env: DeviceEnv) -> Iterator[Finding]:
    """Checks shapes and dtypes of a reset and a step by tracing them."""
    check_contract(env)
    yield Finding("ok", "shapes and dtypes match its spaces and are constant")


def _runner(env: DeviceEnv, num_envs: int, num_steps: int) -> Callable[[Any], Any]:
    """A jitted function of a key: (first obs, steps [T, N, …]) with random actions."""
    from pgcli.rollout.device_collector import env_keys, step_and_reset

    drawn: Any = random_action(
        env.spec.action, (num_steps, num_envs), np.random.default_rng(0)
    )
    policy = chance_policy(env.spec, "random")
    masked = mask_key(env.spec.obs) is not None
    if masked:  # noise, from which valid actions follow
        keys = env_keys(jax.random.key(0), num_envs)
        drawn = draw_noise(policy, NO_AGENT, env.spec.obs, keys, num_steps)

    def one(carry: Any, inputs: Any) -> Any:
        state, obs = carry
        action, key = inputs
        if masked:
            dist = act(policy, NO_AGENT, (), obs, jnp.zeros(num_envs, bool))[1]
            action = dist.sample(action)
        state, obs, step = step_and_reset(env, key, state, action)
        return (state, obs), step

    def run(key: Any) -> Any:
        state, obs = jax.vmap(env.reset)(env_keys(key, num_envs))
        keys = jax.random.split(key, num_steps)
        inputs = (jax.tree.map(jnp.asarray, drawn), keys)
        return obs, jax.lax.scan(one, (state, obs), inputs)[1]

    return jax.jit(run)


def _episodes(env: DeviceEnv) -> Iterator[Finding]:
    """Checks the values of random episodes under jit and vmap."""
    # observations [N, …] of the reset, steps [T, N, …]
    run = _runner(env, NUM_ENVS, NUM_STEPS)
    first, step = jax.device_get(run(jax.random.key(0)))
    _check_values("an observation of a reset", first, env.spec.obs)
    _check_values("an observation of a step", step.obs, env.spec.obs)
    if not np.isfinite(step.reward).all():
        t, n = np.argwhere(~np.isfinite(step.reward))[0]
        raise Wrong(
            f"the reward is not finite at step {t} of environment {n}",
            "training stops at such a value: look for a division by 0 or an overflow",
        )
    ones = np.ones(step.reward.shape)
    found = outside(env.spec.obs, step.obs, ones, ones.size, np)
    for words in BoundsWarning(env.spec.obs).text(found, "the check"):
        yield Finding("warning", *words)
    # ends of episodes, and the limit that guarantees them
    ends = int((step.terminated | step.truncated).sum())
    yield Finding(
        "ok",
        f"{NUM_ENVS} × {NUM_STEPS} random steps under jit and vmap, {ends} episode "
        "ends: all observations fit their space, all rewards are finite",
    )
    limit = env.spec.max_episode_steps
    if limit is None:
        yield Finding("warning", "no time limit is known", "set env.max_episode_steps")
    else:
        yield Finding("ok", f"episodes are truncated after {limit} steps")
    # N first observations that are all equal suggest an unused key
    starts = np.asarray(jax.tree.leaves(first)[0]).reshape(NUM_ENVS, -1)
    if len(np.unique(starts, axis=0)) == 1:
        yield Finding(
            "warning",
            f"{NUM_ENVS} keys give the same first observation",
            "this is fine if nothing is random; otherwise use the key of `initial`",
        )


def _check_values(what: str, obs: Any, space: ObsSpace) -> None:
    """Raises `Wrong` for values that are not finite, or no category of their space."""
    if isinstance(space, Mapping):
        for name, part in space.items():
            _check_values(f"`{name}` of {what}", obs[name], part)
        return
    if obs.dtype.kind == "f" and not np.isfinite(obs).all():
        raise Wrong(f"{what} is not finite", "look for a division by 0 or an overflow")
    low, high = limits(space)
    if not isinstance(space, Box) and ((obs < low) | (obs > high)).any():
        raise Wrong(
            f"{what} is outside its space: values from {obs.min():g} to {obs.max():g}",
            "correct observation_space, or what is returned",
        )


def measure_device(env: DeviceEnv, num_envs: int, seconds: float) -> Speed:
    """Time of a step and of a reset per environment, compiled, `num_envs` at once."""
    run = _runner(env, num_envs, NUM_STEPS)
    reset = jax.jit(lambda key: jax.vmap(env.reset)(jax.random.split(key, num_envs)))
    key = jax.random.key(1)
    return Speed(
        1e6 * _best(lambda: run(key), seconds) / (num_envs * NUM_STEPS),
        1e6 * _best(lambda: reset(key), seconds / 4) / num_envs,
    )


def _best(call: Callable[[], Any], seconds: float) -> float:
    """The shortest time of a call, in seconds, over about `seconds` in all."""
    # the first call compiles
    jax.block_until_ready(call())  # type: ignore[no-untyped-call]
    taken: list[float] = []
    deadline = time.perf_counter() + seconds
    while not taken or time.perf_counter() < deadline:
        start = time.perf_counter()
        jax.block_until_ready(call())  # type: ignore[no-untyped-call]
        taken.append(time.perf_counter() - start)
    return min(taken)
