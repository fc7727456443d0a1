"""Environments of a configuration, with the helpers that step them."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from pgcli.config.schema import NO_MASK, EnvConfig, HostConfig
from pgcli.envs import registry
from pgcli.envs.base import DeviceEnv, HostEnv, Space, Step, mask_key
from pgcli.envs.host.atari_vector import make_atari
from pgcli.envs.host.env_factory import env_factory
from pgcli.envs.host.envpool import make_envpool
from pgcli.envs.host.in_process import InProcess
from pgcli.envs.host.native_vector import NativeVector
from pgcli.envs.obs_parts import chosen_parts
from pgcli.envs.workers.parallel_stepping import Lanes
from pgcli.envs.workers.worker_count import choose_workers
from pgcli.errors import UsageError


def make_device_env(config: EnvConfig) -> DeviceEnv:
    """The on-device environment that `config.id` names.

    Raises:
      UsageError: its back end has no such environment, or is not installed.
      EnvironmentFailed: the library raised while making it.
    """
    if _KEPT and _KEPT[0][0] == _key(config):
        return _KEPT.pop()[1]
    # check what can be checked without importing the library
    if config.wrappers:
        raise UsageError(
            f"`env.wrappers` is for host environments; `{config.id}` runs on the device"
        )
    registry.check(config)
    name = config.id.partition(":")[2]
    backend = registry.DEVICE_BACKENDS[config.backend]
    # exceptions of the library become errors that name the environment
    try:
        env = backend.make(name, config.kwargs, config.max_episode_steps)
        if config.action_mask != NO_MASK or mask_key(env.spec.obs):
            from pgcli.envs.device.action_masks import with_masks  # imports JAX

            env = with_masks(env, config.action_mask)
    except BaseException as error:
        raise registry.unusable(config.id, error) from error
    return env if config.obs_keys is None else _with_keys(env, config.obs_keys)


def _with_keys(env: DeviceEnv, keys: Sequence[str]) -> DeviceEnv:
    """The environment with some parts of its observations only."""
    space = env.spec.obs
    names = [] if isinstance(space, Space) else list(space)
    chosen = chosen_parts(names, keys, env.spec.id)
    if (mask := mask_key(space)) not in (None, *chosen):
        chosen.append(str(mask))

    def keep(parts: Any) -> Any:
        return {name: parts[name] for name in chosen}

    def reset(key: Any) -> tuple[Any, Any]:
        state, obs = env.reset(key)
        return state, keep(obs)

    def step(key: Any, state: Any, action: Any) -> tuple[Any, Step]:
        state, step = env.step(key, state, action)
        return state, step._replace(obs=keep(step.obs))

    spec = dataclasses.replace(env.spec, obs=keep(space))
    return env._replace(spec=spec, reset=reset, step=step)


def keep_device_env(config: EnvConfig) -> DeviceEnv:
    """An on-device environment, which the next `make_device_env` returns again."""
    env = make_device_env(config)
    _KEPT[:] = [(_key(config), env)]
    return env


def _key(config: EnvConfig) -> tuple[Any, ...]:
    limit = config.max_episode_steps
    return config.id, config.kwargs, limit, config.obs_keys, config.action_mask


_KEPT: list[tuple[tuple[Any, ...], DeviceEnv]] = []
"""The environment that `keep_device_env` has made, unless it was returned again."""


def make_host_env(
    config: EnvConfig,
    seeds: list[int],
    *,
    vectorizer: Literal["in_process", "native"] | None = None,
    workers: int | Literal["auto", "thread"] = 0,
    timeout: float = HostConfig.timeout,
) -> HostEnv:
    """One host environment per seed. The results do not depend on the workers.

    Args:
      config: configuration of each environment; its `num_envs` is not used.
      seeds: one per environment.
      vectorizer: None for the environment's default.
      workers: child processes, or a thread, that step a share of the environments;
        `auto` for the choice of `choose_workers`. Ignored for native vector
        environments.
      timeout: time limit in seconds for a worker's step of its share.

    Raises:
      UsageError: there is no such environment, or its package is missing.
      EnvironmentFailed: the environment could not be made.
    """
    env: HostEnv
    native = (vectorizer or config.default_vectorizer) == "native"
    factory = None if config.backend == "envpool" else env_factory(config)
    # environments with their own vectorisation
    if factory is None:
        env = make_envpool(config, seeds)
    elif native:
        atari = config.backend == "atari"
        env = (make_atari if atari else NativeVector.make)(factory, seeds)
    # Gymnasium environments, stepped here and by helpers if there are any
    else:
        if workers == "auto":
            workers = choose_workers(factory, len(seeds))
        env = (
            InProcess.make(factory, seeds)
            if workers == 0
            else Lanes.make(factory, seeds, workers, timeout)
        )
    return in_users_precision(env)


def in_users_precision(env: HostEnv) -> HostEnv:
    """The environments, whose JAX code computes in 64 bits if the user asked for it.

    The code around them computes in 32 bits, by a setting of the calling thread
    (`pgcli.training.backend.precision`).
    """
    jax = sys.modules.get("jax")
    if jax is None:
        return env
    # another thread does not have the setting of this one
    with ThreadPoolExecutor(1) as other_thread:
        wide = other_thread.submit(lambda: bool(jax.config.jax_enable_x64)).result()
    for name in ("reset", "step", "get_state", "set_state") if wide else ():
        if hasattr(env, name):
            setattr(env, name, _in_64_bits(jax, getattr(env, name)))
    return env


def _in_64_bits(jax: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        with jax.enable_x64(True):
            return function(*arguments)

    return call


def helpers_of(env: HostEnv) -> str:
    """A description of an environment's helpers, such as `1 worker`; empty for none."""
    return str(getattr(env, "helpers", ""))
