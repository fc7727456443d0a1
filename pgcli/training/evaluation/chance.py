"""Agents without parameters, for the return that takes no learning."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from pgcli.arrays.shapes import Array, Float, Key
from pgcli.config.schema import NetworkConfig
from pgcli.envs.base import ActionSpace, Box, EnvSpec, split_mask
from pgcli.nn.heads import make_head
from pgcli.nn.joint import Joint
from pgcli.nn.policy import Agent, Policy

CHANCE = ("random", "zero")

NO_AGENT = Agent({}, None)
"""The parameters of such an agent: none."""


class Uniform(struct.PyTreeNode):
    """Actions of a Box as Gymnasium samples them.

    Uniform between two bounds; exponential from one; standard normal without any.
    """

    low: Array  # [*batch, A]
    high: Array

    def noise(self, key: Key[Array, ""], shape: tuple[int, ...]) -> Array:
        """Uniform numbers in (0, 1)."""
        tiny = np.finfo(np.float32).tiny
        size = (*shape, self.low.shape[-1])
        return jax.random.uniform(key, size, jnp.float32, minval=tiny)

    def sample(self, noise: Float[Array, "*batch A"]) -> Float[Array, "*batch A"]:
        """The quantiles of `noise`."""
        below, above = jnp.isfinite(self.low), jnp.isfinite(self.high)
        low, high = jnp.where(below, self.low, 0.0), jnp.where(above, self.high, 0.0)
        # two bounds, the lower one, the upper one, none
        return jnp.select(
            [below & above, below, above],
            [low + noise * (high - low), low - jnp.log(noise), high + jnp.log(noise)],
            jax.scipy.special.ndtri(noise),
        )


def chance_policy(spec: EnvSpec, kind: str) -> Policy:
    """A policy of uniform actions (`random`: samples), or of 0 (`zero`: its mode)."""
    head = make_head(spec, NetworkConfig())

    def apply(params: Any, carry: Any, obs: Any, start: Array) -> Any:
        # equal logits: uniform samples, and the first category as the mode
        outputs = jnp.zeros((*start.shape, head.num_outputs))
        dist: Any = head.make_dist(outputs, jnp.zeros(head.num_log_std))
        mask = split_mask(spec.obs, obs)[1]
        dist = dist if mask is None else dist.masked(mask)
        if kind == "random":
            dist = _uniform(spec.action, dist)
        return carry, dist, outputs

    return Policy(lambda key: {}, lambda num_envs: (), apply)


def _uniform(space: ActionSpace, dist: Any) -> Any:
    """The distribution with every Box uniform."""
    if isinstance(space, Mapping):
        parts = dist.parts.items()
        return Joint({name: _uniform(space[name], part) for name, part in parts})
    if not isinstance(space, Box):
        return dist
    low, high = (
        np.broadcast_to(bound, space.shape).reshape(-1).astype(np.float32)
        for bound in space.bounds()
    )
    shape = dist.mean.shape
    return Uniform(jnp.broadcast_to(low, shape), jnp.broadcast_to(high, shape))
