"""Networks of policies and values."""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from pgcli.arrays.shapes import Array
from pgcli.config.schema import NetworkConfig, is_own_network
from pgcli.envs.base import Discrete, ObsSpace, Space
from pgcli.envs.obs_parts import encoded_parts
from pgcli.nn.distributions import Distribution
from pgcli.nn.encoders import (
    ACTIVATIONS,
    ENCODERS,
    encode_image,
    encoders_of,
    flatten,
)
from pgcli.nn.heads import Head
from pgcli.nn.layers import dense, kernel_init, row_of
from pgcli.nn.memory import Memory, initial_state
from pgcli.nn.own_networks import own_features

ROWS_FROM = 128
"""Values of a Discrete observation from which looking up a row beats a product."""


def flatten_obs(space: ObsSpace, obs: Any) -> Array:
    """All parts flattened, in the order of their names: [*batch, n]."""
    if isinstance(space, Space):
        return flatten(space, obs)
    parts = encoded_parts(space).items()
    return jnp.concatenate([flatten(part, obs[key]) for key, part in parts], axis=-1)


def _hidden(
    config: NetworkConfig, features: Array, first: Callable[..., Array] | None = None
) -> Array:
    """Outputs [*batch, hidden[-1]] of the hidden layers for features [*batch, n].

    Must be called in a module's compact method: the layers become that module's.

    Args:
      config: the networks.
      features: inputs of the first layer.
      first: product of features and kernel in the first layer, if it is a special one.
    """
    init = kernel_init(config.init, math.sqrt(2))
    for width in config.hidden:
        layer = dense(width, init, config.dtype, dot_general=first)
        features, first = layer(features), None
        if config.layer_norm:
            features = nn.LayerNorm(dtype=jnp.dtype(config.dtype))(features)
        features = ACTIVATIONS[config.activation](features)
    return features


class Encoder(nn.Module):
    """Features [*batch, n] of one part of an observation."""

    kind: str
    config: NetworkConfig
    space: Any

    @nn.compact
    def __call__(self, obs: Any) -> Array:
        """Features [*batch, n]."""
        if is_own_network(self.kind):
            return own_features(self.kind, self.config, self.space, obs)
        return encode_image(self.kind, self, self.config, self.space, obs)


class Torso(nn.Module):
    """Encoders of the parts of an observation, then the hidden layers."""

    config: NetworkConfig
    obs_space: Any

    @nn.compact
    def __call__(self, obs: Any) -> Array:
        """Features [*batch, hidden[-1]]."""
        config, space = self.config, self.obs_space
        if is_own_network(config.torso):
            return own_features(config.torso, config, space, obs)
        encoders = encoders_of(config, space)
        # an undivided observation: the layers of its encoder are those of the torso
        if config.torso in ENCODERS and isinstance(space, Space):
            features = encode_image(config.torso, self, config, space, obs)
            return _hidden(config, features)
        if set(encoders.values()) == {"mlp"}:
            is_index = isinstance(space, Discrete) and space.n >= ROWS_FROM
            first = row_of(obs - space.start) if is_index else None
            return _hidden(config, flatten_obs(space, obs), first)

        def encode(key: str, part: Space) -> Array:
            if encoders[key] == "mlp":
                return flatten(part, obs[key])
            name = f"encoder_{key}"
            return Encoder(encoders[key], config, part, name=name)(obs[key])

        parts = [encode(key, part) for key, part in encoded_parts(space).items()]
        cast = [part.astype(config.dtype) for part in parts]
        return _hidden(config, jnp.concatenate(cast, axis=-1))


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
            torso = Torso(config, self.obs_space, name=name)
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
