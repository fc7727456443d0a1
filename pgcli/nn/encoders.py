"""Encoders: the parts of an observation, as features to be concatenated.

A part without an encoder is flattened, with integers one-hot. The parts are those of
`encoded_parts`.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from pgcli.arrays.shapes import Array
from pgcli.config.schema import NetworkConfig, is_own_network
from pgcli.envs.base import Box, Discrete, MultiDiscrete, ObsSpace, Space
from pgcli.envs.obs_parts import (
    PIXELS_FROM,
    encoded_parts,
    image_layout,
    image_size,
    is_image,
)
from pgcli.errors import UsageError
from pgcli.nn.convolution import convolutions, patches, residual_convolutions
from pgcli.nn.layers import dense, kernel_init
from pgcli.suggest import did_you_mean

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "swish": jax.nn.swish,
    "gelu": jax.nn.gelu,
    "elu": jax.nn.elu,
}

NATURE_LAYERS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
"""(number of filters, size, stride) of each layer."""

IMPALA_SECTIONS = (16, 32, 32)
"""Number of filters of each section."""


def encoders_of(config: NetworkConfig, space: ObsSpace) -> dict[str, str]:
    """Name of the encoder of every part; `mlp` for parts that are flattened.

    Raises:
      UsageError: a key or an encoder does not fit the observations.
    """
    parts = encoded_parts(space)
    for key, name in config.encoders.items():
        if key not in parts or isinstance(space, Space):
            raise UsageError(
                f"network.encoders: the observations have no part `{key}`",
                help="they are not a Dict: set network.torso"
                if isinstance(space, Space)
                else did_you_mean(key, parts, f"there are {', '.join(parts)}"),
            )
        if name in ENCODERS and not is_image(parts[key]):
            raise _no_image(f"network.encoders.{key}", name, parts[key])
    if isinstance(space, Space):
        return {"": config.torso}
    images = any(is_image(part) for part in parts.values())
    if config.torso in ENCODERS and not images:
        raise _no_image("network.torso", config.torso, space)
    return {
        key: config.encoders.get(key, config.torso if is_image(part) else "mlp")
        for key, part in parts.items()
    }


def not_normalized(config: NetworkConfig, space: ObsSpace) -> frozenset[str]:
    """Parts of a Dict that are scaled in the network: pictures with an encoder."""
    if isinstance(space, Space):
        return frozenset()
    own = is_own_network(config.torso)
    encoders = {} if own else encoders_of(config, space)
    return frozenset(
        key
        for key, part in encoded_parts(space).items()
        if encoders.get(key) != "mlp"
        and is_image(part)
        and part.dtype == "uint8"
        and image_size(part) >= PIXELS_FROM
    )


def _no_image(key: str, name: str, space: ObsSpace) -> UsageError:
    actual = f"shape {list(space.shape)}" if isinstance(space, Box) else space
    return UsageError(
        f"{key}: {name} needs images [H, W, C]; got {actual}",
        help=f"set {key} to mlp",
    )


def flatten(space: Space, obs: Array) -> Array:
    """One part of an observation as features [*batch, n]; integers one-hot."""
    if isinstance(space, Discrete):
        return jax.nn.one_hot(obs - space.start, space.n, dtype=jnp.float32)
    batch = obs.shape[: obs.ndim - len(space.shape)]
    obs = obs.reshape(*batch, math.prod(space.shape))
    if not isinstance(space, MultiDiscrete):
        return obs.astype(jnp.float32)
    parts = [
        jax.nn.one_hot(obs[..., i] - start, n, dtype=jnp.float32)
        for i, (n, start) in enumerate(zip(space.nvec, space.start, strict=True))
    ]
    return jnp.concatenate(parts, axis=-1)


def encode_image(
    name: str, module: nn.Module, config: NetworkConfig, space: Space, obs: Array
) -> Array:
    """Features [*batch, n] of images by one of `ENCODERS`.

    Must be called in the compact method of `module`, whose parameters become the
    encoder's.

    Raises:
      UsageError: the space is none of images, or they are too small.
    """
    if not is_image(space):
        raise _no_image("network.torso", name, space)
    shape, channels_first = image_layout(space, config.channels)
    least = LEAST.get(name, 1)
    if min(shape[:2]) < least:
        raise UsageError(
            f"{name} needs images of at least {least} × {least} pixels; got shape "
            f"{list(space.shape)}",
            help="set network.torso to mlp; of a Dict, network.encoders={key: mlp}",
        )
    # grey and stacked images [*batch, …] with an axis of channels
    height, width, channels = shape
    batch = obs.shape[: obs.ndim - len(space.shape)]
    if len(space.shape) == 2:
        obs = obs[..., None]
    elif len(space.shape) == 4 and channels_first:
        obs = obs.reshape(*batch, channels, height, width)
    elif len(space.shape) == 4:
        obs = jnp.moveaxis(obs, -4, -2).reshape(*batch, height, width, channels)
    return ENCODERS[name](module, config, channels, obs, channels_first)


def grid_cnn(
    module: nn.Module,
    config: NetworkConfig,
    channels: int,
    obs: Array,
    channels_first: bool,
) -> Array:
    """16 filters of 3 × 3 on a small image.

    The network of MinAtar's baselines (Young & Tian, 2019, arXiv 1903.03176).
    """
    image = jnp.moveaxis(obs, -3, -1) if channels_first else obs
    windows = patches(image.astype(config.dtype))
    init = kernel_init(config.init, math.sqrt(2))
    filtered = dense(16, init, config.dtype, "filters")(windows)
    filtered = ACTIVATIONS[config.activation](filtered)
    return filtered.reshape(*filtered.shape[:-3], -1)


def _filters(
    module: nn.Module, config: NetworkConfig, layers: Any
) -> tuple[list[Array], list[Array]]:
    """(kernels [k, k, C, F], biases [F]) of layers (size, C, F), float32 parameters."""
    kernels, biases = [], []
    for i, (size, channels, filters) in enumerate(layers):
        window = (size, size, channels, filters)
        init = kernel_init(config.init, math.sqrt(2))
        kernels.append(module.param(f"filters_{i}", init, window))
        zeros = nn.initializers.zeros_init()
        biases.append(module.param(f"filters_{i}_bias", zeros, (filters,)))
    return (
        [kernel.astype(config.dtype) for kernel in kernels],
        [bias.astype(config.dtype) for bias in biases],
    )


def nature_cnn(
    module: nn.Module,
    config: NetworkConfig,
    channels: int,
    obs: Array,
    channels_first: bool,
) -> Array:
    """Three layers of filters on stacked frames.

    32 filters of 8 × 8 with stride 4, 64 of 4 × 4 with stride 2, 64 of 3 × 3 (Mnih et
    al., 2015, Human-level control through deep reinforcement learning); the paper's
    `hidden` is [512]. Bytes are scaled to the range 0 to 1.
    """
    depths = [channels, *(filters for filters, _, _ in NATURE_LAYERS)]
    layers = [
        (size, depth, filters)
        for (filters, size, _), depth in zip(NATURE_LAYERS, depths, strict=False)
    ]
    # images [B, …] -> features [B, h, w, 64] -> [*batch, n]
    features = convolutions(
        obs.reshape(-1, *obs.shape[-3:]),
        *_filters(module, config, layers),
        [stride for _, _, stride in NATURE_LAYERS],
        ACTIVATIONS[config.activation],
        channels_first=channels_first,
    )
    return features.reshape(*obs.shape[:-3], -1)


def impala_cnn(
    module: nn.Module,
    config: NetworkConfig,
    channels: int,
    obs: Array,
    channels_first: bool,
) -> Array:
    """The residual network of IMPALA, for images of any size.

    Three sections of 16, 32 and 32 filters of 3 × 3, each with a max pooling and two
    residual blocks (Espeholt et al., 2018, arXiv 1802.01561, figure 3); the paper's
    `hidden` is [256]. Bytes are scaled to the range 0 to 1.
    """
    layers = []
    for filters in IMPALA_SECTIONS:
        layers += [(3, channels, filters), *[(3, filters, filters)] * 4]
        channels = filters
    features = residual_convolutions(
        obs.reshape(-1, *obs.shape[-3:]),
        *_filters(module, config, layers),
        ACTIVATIONS[config.activation],
        channels_first=channels_first,
    )
    return features.reshape(*obs.shape[:-3], -1)


ENCODERS: Mapping[str, Callable[..., Array]] = {
    "grid_cnn": grid_cnn,
    "nature_cnn": nature_cnn,
    "impala_cnn": impala_cnn,
}
"""Name -> features [*batch, n] of images, see `encode_image`.

The arguments are module, configuration, number of channels, images [*batch, H, W, C] or
[*batch, C, H, W], and whether they are of the second form.
"""

LEAST = {"grid_cnn": 3, "nature_cnn": 36}
"""Shorter side of the smallest image in pixels."""
