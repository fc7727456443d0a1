"""Networks of policies and values."""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from pgcli.arrays.shapes import Array
from pgcli.config.schema import NetworkConfig
from pgcli.envs.base import Box, Discrete, MultiDiscrete, ObsSpace, Space
from pgcli.errors import UsageError
from pgcli.nn.convolution import convolutions, patches
from pgcli.nn.distributions import Distribution
from pgcli.nn.heads import Head
from pgcli.nn.layers import dense, orthogonal
from pgcli.nn.memory import Memory, initial_state

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "swish": jax.nn.swish,
    "gelu": jax.nn.gelu,
    "elu": jax.nn.elu,
}


def _flat(space: Space, obs: Array) -> Array:
    """One observation component as features [*batch, n]; integers one-hot."""
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


def flatten_obs(space: ObsSpace, obs: Any) -> Array:
    """All components concatenated, in the order of their names: [*batch, n]."""
    if isinstance(space, Space):
        return _flat(space, obs)
    return jnp.concatenate(
        [_flat(space[name], obs[name]) for name in sorted(space)], axis=-1
    )


def _hidden(config: NetworkConfig, features: Array) -> Array:
    """Outputs [*batch, hidden[-1]] of the hidden layers for features [*batch, n].

    Must be called in a module's compact method: the layers become that module's.
    """
    activation = ACTIVATIONS[config.activation]
    for width in config.hidden:
        features = activation(dense(width, math.sqrt(2), config.dtype)(features))
    return features


class MLP(nn.Module):
    """Dense layers on the flattened observation."""

    config: NetworkConfig
    obs_space: Any

    @nn.compact
    def __call__(self, obs: Any) -> Array:
        """Features [*batch, hidden[-1]]."""
        return _hidden(self.config, flatten_obs(self.obs_space, obs))


def image_shape(torso: str, space: ObsSpace) -> tuple[int, ...]:
    """Shape of image observations.

    Raises:
      UsageError: the observations are not images.
    """
    if isinstance(space, Box) and len(space.shape) == 3:
        return space.shape
    actual = f"shape {list(space.shape)}" if isinstance(space, Box) else space
    raise UsageError(
        f"network.torso: {torso} needs images [H, W, C]; got {actual}",
        help="set network.torso to mlp",
    )


def _too_small(torso: str, minimum: int, shape: tuple[int, ...]) -> UsageError:
    return UsageError(
        f"network.torso: {torso} needs images of at least {minimum} × {minimum} "
        f"pixels; got shape {list(shape)}",
        help="set network.torso to mlp",
    )


class GridCNN(nn.Module):
    """16 filters of 3 × 3 on a small image [H, W, C], then dense layers.

    The network of MinAtar's baselines (Young & Tian, 2019, arXiv 1903.03176).
    """

    config: NetworkConfig
    obs_space: Any

    @nn.compact
    def __call__(self, obs: Any) -> Array:
        """Features [*batch, hidden[-1]]."""
        shape = image_shape("grid_cnn", self.obs_space)
        if min(shape[:2]) < 3:
            raise _too_small("grid_cnn", 3, shape)
        activation, dtype = ACTIVATIONS[self.config.activation], self.config.dtype
        windows = patches(obs.astype(dtype))
        filtered = activation(dense(16, math.sqrt(2), dtype, "filters")(windows))
        return _hidden(self.config, filtered.reshape(*filtered.shape[:-3], -1))


class NatureCNN(nn.Module):
    """Three layers of filters on stacked frames, then dense layers.

    32 filters of 8 × 8 with stride 4, 64 of 4 × 4 with stride 2, 64 of 3 × 3 (Mnih et
    al., 2015, Human-level control through deep reinforcement learning); the paper's
    `hidden` is [512]. Images are [H, W, C], or stacked grey frames [C, H, W] if the
    first axis is the shortest. Bytes are scaled to the range 0 to 1.
    """

    config: NetworkConfig
    obs_space: Any

    @nn.compact
    def __call__(self, obs: Any) -> Array:
        """Features [*batch, hidden[-1]]."""
        shape = image_shape("nature_cnn", self.obs_space)
        stacked = shape[0] < min(shape[1:])
        if min(shape[1:] if stacked else shape[:2]) < 36:
            raise _too_small("nature_cnn", 36, shape)
        # parameters of the three layers, in float32
        kernels, biases, channels = [], [], shape[0 if stacked else -1]
        for i, (filters, size, _) in enumerate(NATURE_LAYERS):
            window = (size, size, channels, filters)
            init = orthogonal(math.sqrt(2))
            kernels.append(self.param(f"filters_{i}", init, window))
            zeros = nn.initializers.zeros_init()
            biases.append(self.param(f"filters_{i}_bias", zeros, (filters,)))
            channels = filters
        # images [B, …] -> features [B, h, w, 64] -> [*batch, hidden[-1]]
        features = convolutions(
            obs.reshape(-1, *shape),
            [kernel.astype(self.config.dtype) for kernel in kernels],
            [bias.astype(self.config.dtype) for bias in biases],
            [stride for _, _, stride in NATURE_LAYERS],
            ACTIVATIONS[self.config.activation],
            channels_first=stacked,
        )
        return _hidden(self.config, features.reshape(*obs.shape[:-3], -1))


NATURE_LAYERS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))
"""(number of filters, size, stride) of each layer."""

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mlp": MLP,
    "grid_cnn": GridCNN,
    "nature_cnn": NatureCNN,
}
"""Name of a torso -> its class, (config, obs_space, name=…) -> features of obs."""


Carry = Any
"""State of the memory of each torso, by the torso's name; () without memory."""


def initial_carry(config: NetworkConfig, num_envs: Any) -> Carry:
    """The carry of an `ActorCritic` at the start of an episode."""
    if config.memory is None:
        return ()
    state = initial_state(config.memory, config.memory_size, num_envs)
    return dict.fromkeys(("policy", "value")[: 2 - config.shared], state)


class ActorCritic(nn.Module):
    """Policy head and value head, on separate torsos or a shared one.

    A memory follows each torso if the configuration has one. Torsos compute in the
    configuration's dtype; memories and heads compute in float32, so that losses and
    log-probabilities are float32.

    Orthogonal initialisation with gain √2 in the torso, 1 in the memory, 0.01 in the
    policy head (so that the first policy is nearly uniform) and 1 in the value head;
    biases are 0.
    """

    config: NetworkConfig
    obs_space: Any
    head: Head

    @nn.compact
    def __call__(
        self, carry: Carry, obs: Any, start: Array
    ) -> tuple[Carry, Distribution, Array]:
        """(carry, π(·|s), value [*batch]).

        Args:
          carry: state of the memory of each torso, by name; () without memory.
          obs: [*batch, …]; with a memory, the batch axes are (N,) or (T, N).
          start: [*batch]: whether the step begins an episode.
        """
        config = self.config
        carried = dict[str, Any]()

        def features(name: str) -> Array:
            torso = NETWORKS[config.torso](config, self.obs_space, name=name)
            output: Array = torso(obs).astype(jnp.float32)
            if config.memory is not None:
                memory = Memory(
                    config.memory, config.memory_size, name=f"{name}_memory"
                )
                carried[name], output = memory(carry[name], output, start)
            return output

        policy = features("policy")
        value = policy if config.shared else features("value")
        dist = self.head(self, policy)
        value = dense(1, 1.0, name="value_head")(value)[..., 0]
        return carried or carry, dist, value
