"""EnvPool's environments, `envpool:ID`: stepped by its own threads, reset a step later.

Its other options are set by `env.kwargs` under its own names, except those that a key
of ours sets for every environment.
"""

import importlib.util
from typing import Any

from pgcli.config.schema import EnvConfig
from pgcli.envs.host.native_vector import NativeVector
from pgcli.envs.registry import close_to, not_installed, not_passed_on, unusable
from pgcli.errors import UsageError

PREFIX = "envpool:"

_ELSEWHERE = {
    "num_envs": "env.num_envs",
    "seed": "seed",
    "env_seed": "seed",
    "max_episode_steps": "env.max_episode_steps",
    "reward_clip": "normalize.reward_sign",
    "episodic_life": "rollout.end_on_life_loss",
    "zero_discount_on_life_loss": "rollout.end_on_life_loss",
    "batch_size": None,
    "gym_reset_return_info": None,
}
"""Argument of EnvPool -> our key with the same effect for any environment, or None."""


def make_envpool(config: EnvConfig, seeds: list[int]) -> NativeVector:
    """One environment of EnvPool per seed.

    Raises:
      UsageError: EnvPool is not installed, has no such environment, or rejects an
        argument.
      EnvironmentFailed: it could not be made.
    """
    if importlib.util.find_spec("envpool") is None:
        raise not_installed(config.id, "envpool")
    import envpool

    # the name and the arguments are checked before an environment is made
    name = config.id.removeprefix(PREFIX)
    known = envpool.list_all_envs()
    if name not in known:
        raise UsageError(
            f"unknown environment `{config.id}`",
            help=close_to(config.id, [PREFIX + each for each in known]),
        )
    for argument in _ELSEWHERE.keys() & config.kwargs.keys():
        raise not_passed_on(argument, _ELSEWHERE[argument], " to EnvPool")
    arguments: dict[str, Any] = dict(config.kwargs)
    if config.max_episode_steps is not None:
        arguments["max_episode_steps"] = config.max_episode_steps
    # seeds are set here only: EnvPool ignores the seed of a reset
    arguments["seed"] = [min(seed, 2**31 - 2) for seed in seeds]
    try:
        env = envpool.make_gymnasium(name, num_envs=len(seeds), **arguments)
        limit = env.config["max_episode_steps"]
    except TypeError as error:
        raise UsageError(f"env.kwargs does not fit {config.id}: {error}") from error
    except BaseException as error:
        raise unusable(config.id, error) from error
    return NativeVector(env, seeds, config.id, limit, seeded=True)
