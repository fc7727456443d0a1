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
from pgcli.envs.obs_parts import PIXELS_FROM, encoded_parts, image_size, is_image
from pgcli.envs.spaces import make_spec

NATURE_LEAST, GRID_LEAST = PIXELS_FROM, 3
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
    values = {**BY_KIND[kind], **by_part(spec.obs)}
    # a policy with steps of its own shares no layers with the critic
    if config.algo.separate_policy_step:
        values.pop("network.shared", None)
    return kind, values


def by_part(obs: ObsSpace) -> dict[str, Any]:
    """Values that depend on every part of the observations, by dotted path."""
    parts, kind = encoded_parts(obs), kind_of(obs)
    values: dict[str, Any] = {}
    if kind == "images":
        # bytes are scaled in the network; other numbers may need it
        values["normalize.obs"] = any(
            part.dtype != "uint8" or image_size(part) < NATURE_LEAST
            for part in parts.values()
            if isinstance(part, Box)
        )
    # images that are too small for the network of the largest
    smaller = {
        key: BY_KIND[kind_of(part)].get("network.torso", "mlp")
        for key, part in parts.items()
        if is_image(part) and kind_of(part) != kind
    }
    return values | ({"network.encoders": smaller} if smaller else {})


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
    """The kind of observations, a key of `BY_KIND`; of a Dict, by its largest image."""
    parts = encoded_parts(obs).values()
    size = max((image_size(part) for part in parts), default=0)
    if size >= GRID_LEAST:
        return "images" if size >= NATURE_LEAST else "small images"
    numbers = any(isinstance(part, Box) for part in parts)
    return "vectors" if numbers else "discrete observations"


def warning(config: RunConfig, obs: ObsSpace) -> str | None:
    """A warning if the network cannot make use of the observations, or None."""
    if config.network.torso != "mlp":
        return None
    for key, part in encoded_parts(obs).items():
        given = config.network.encoders.get(key, "mlp")
        if given == "mlp" and image_size(part) >= NATURE_LEAST:
            name = f" `{key}`" if key else ""
            return (
                f"images{name} of shape {list(part.shape)} go into dense layers, which "
                "learn little from pixels; a convolutional network: --set "
                "network.torso=nature_cnn --set network.hidden=[512]"
            )
    return None
