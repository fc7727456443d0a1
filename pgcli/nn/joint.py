"""The distribution of compound actions."""

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import struct

from pgcli.arrays.shapes import Array, Float, Int, Key


class Joint(struct.PyTreeNode):
    """Independent components by name, for a Dict or Tuple of actions.

    Noise and actions are mappings with the same names; masks are concatenated.
    """

    parts: dict[str, Any]

    def _map(self, function: Callable[[Any, str], Any]) -> dict[str, Any]:
        return {name: function(self.parts[name], name) for name in sorted(self.parts)}

    def _sum(self, function: Callable[[Any, str], Array]) -> Array:
        total: Array = functools.reduce(operator.add, self._map(function).values())
        return total

    def noise(self, key: Key[Array, ""], shape: tuple[int, ...]) -> dict[str, Any]:
        """Noise of every component, each from a key of its own."""
        keys = dict(
            zip(sorted(self.parts), jax.random.split(key, len(self.parts)), strict=True)
        )
        return self._map(lambda dist, name: dist.noise(keys[name], shape))

    def sample(self, noise: Mapping[str, Any]) -> dict[str, Any]:
        """An action of every component."""
        return self._map(lambda dist, name: dist.sample(noise[name]))

    def log_prob(self, action: Mapping[str, Any]) -> Float[Array, "*batch"]:
        """Σ over the components of log π(a_i|s)."""
        return self._sum(lambda dist, name: dist.log_prob(action[name]))

    def entropy(self) -> Float[Array, "*batch"]:
        """Sum of the components' entropies."""
        return self._sum(lambda dist, _: dist.entropy())

    def kl(self, other: "Joint") -> Float[Array, "*batch"]:
        """Sum of the components' divergences."""
        return self._sum(lambda dist, name: dist.kl(other.parts[name]))

    def mode(self) -> dict[str, Any]:
        """The most probable action of every component."""
        return self._map(lambda dist, _: dist.mode())

    def masked(self, mask: Int[Array, "*batch L"]) -> "Joint":
        """The distribution given valid actions; a Box has no part in the mask."""
        masked, end = dict(self.parts), 0
        for name in sorted(masked):
            size = getattr(masked[name], "mask_size", 0)
            if size:
                masked[name] = masked[name].masked(mask[..., end : end + size])
            end += size
        return Joint(masked)
