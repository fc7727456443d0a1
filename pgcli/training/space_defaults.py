"""Defaults chosen by the spaces of an environment that has no preset.

They follow from the kind of observations only, not from measured speeds, so that a
configuration is the same on every machine.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

from pgcli.config.schema import RunConfig
from pgcli.envs import registry
from pgcli.envs.base import Box, EnvSpec, ObsSpace
from pgcli.envs.host.env_factory import close_kept, env_factory
from pgcli.envs.spaces import make_spec

NATURE_LEAST, GRID_LEAST = 36, 3
"""Smallest image in pixels that each convolutional torso can process."""

STEPS = 1_000_000
"""Budget for observations that are numbers, the usual one of published settings."""

BY_KIND: Mapping[str, Mapping[str, Any]] = {
    "images": {
        "network.torso": "nature_cnn",
        "network.hidden": [512],
        "network.activation": "relu",
        "network.shared": True,
        "normalize.reward": True,
        "steps": STEPS,
    },
    "small images": {
        "network.torso": "grid_cnn",
        "network.activation": "relu",
        "normalize.obs": True,
        "normalize.reward": True,
        "steps": STEPS,
    },
    "vectors": {"normalize.obs": True, "normalize.reward": True, "steps": STEPS},
    "discrete observations": {"normalize.reward": True},
}
"""Kind of observations -> values by dotted path."""


def look(config: RunConfig) -> tuple[str, Mapping[str, Any]]:
    """(kind of observations, values by dotted path) for an environment, which is made.

    Training gets the same environment.

    Raises:
      UsageError: the environment is unknown or not installed.
      EnvironmentFailed: it cannot be made, or no policy supports its spaces.
    """
    registry.check(config.env)
    spec = device_spec(config) if config.env.on_device else host_spec(config)
    kind = kind_of(spec.obs)
    values = dict(BY_KIND[kind])
    if kind == "images" and isinstance(spec.obs, Box):
        values["normalize.obs"] = spec.obs.dtype != "uint8"  # bytes are scaled anyway
    if config.algo.separate_policy_step:
        values.pop("network.shared", None)
    return kind, values


def host_spec(config: RunConfig) -> EnvSpec:
    """The specification of a host environment, which is kept for the training."""
    if config.env.backend == "envpool":
        from pgcli.envs.make import make_host_env

        with contextlib.closing(make_host_env(config.env, [0])) as pool:
            return pool.spec
    factory = env_factory(config.env)
    try:
        env = factory.keep_one()
        limit = getattr(env.spec, "max_episode_steps", None)
        spaces = env.observation_space, env.action_space
        return make_spec(config.env.id, *spaces, limit)
    except BaseException as error:
        close_kept()
        raise registry.unusable(config.env.id, error) from error


def device_spec(config: RunConfig) -> EnvSpec:
    """As `host_spec` for a device environment; JAX is started as for the run."""
    from pgcli.envs.make import keep_device_env
    from pgcli.training.backend import layout
    from pgcli.training.backend.precision import in_32_bits

    with in_32_bits():
        layout.start(config)
        return keep_device_env(config.env).spec


def kind_of(obs: ObsSpace) -> str:
    """The kind of observations, a key of `BY_KIND`."""
    size = image_size(obs)
    if size is not None and size >= NATURE_LEAST:
        return "images"
    if isinstance(obs, Box) and size is not None and min(obs.shape[:2]) >= GRID_LEAST:
        return "small images"
    parts = obs.values() if isinstance(obs, Mapping) else [obs]
    numbers = any(isinstance(part, Box) for part in parts)
    return "vectors" if numbers else "discrete observations"


def image_size(obs: ObsSpace) -> int | None:
    """Shorter side of an image [H, W, C], or of stacked frames [C, H, W], or None."""
    if not isinstance(obs, Box) or len(obs.shape) != 3:
        return None
    stacked = obs.shape[0] < min(obs.shape[1:])
    return min(obs.shape[1:] if stacked else obs.shape[:2])


def warning(config: RunConfig, obs: ObsSpace) -> str | None:
    """A warning if the network cannot make use of the observations, or None."""
    size = image_size(obs)
    if config.network.torso != "mlp" or size is None or size < NATURE_LEAST:
        return None
    return (
        f"images of shape {list(obs.shape)} go into dense layers, which learn little "  # type: ignore[union-attr]
        "from pixels; a convolutional network: --set network.torso=nature_cnn "
        "--set network.hidden=[512]"
    )
