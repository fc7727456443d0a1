"""Action distributions as small pytrees.

Noise is separate from sampling, so that the noise of a whole rollout can be drawn in
one call: `dist.sample(dist.noise(key, batch_shape))`. `noise` reads only the shapes of
`self`, so it also works on a distribution of `jax.ShapeDtypeStruct`s.
"""

import itertools
import math
from collections.abc import Iterable
from typing import Any, Protocol, Self, runtime_checkable

import jax
import jax.numpy as jnp
from flax import struct

from pgcli.arrays.shapes import Array, Float, Int, Key
from pgcli.nn.masks import masked_bits, masked_choices


@runtime_checkable
class Distribution(Protocol):
    """π(·|s) for a batch of states; every method keeps the batch axes."""

    def noise(self, key: Array, shape: tuple[int, ...]) -> Any:
        """Random numbers for `sample`, with batch axes `shape`. Consumes the key."""

    def sample(self, noise: Any) -> Any:
        """An action a ~ π(·|s)."""

    def log_prob(self, action: Any) -> Array:
        """Log π(a|s), in nats."""

    def entropy(self) -> Array:
        """H(π(·|s)), in nats."""

    def kl(self, other: Self) -> Array:
        """KL(self‖other), closed form, in nats."""

    def mode(self) -> Any:
        """The most probable action."""


class Categorical(struct.PyTreeNode):
    """A choice among A actions with probabilities softmax(logits)."""

    logits: Array  # [*batch, A]

    def noise(self, key: Key[Array, ""], shape: tuple[int, ...]) -> Array:
        """Standard Gumbel noise: argmax(logits + noise) is a sample."""
        return jax.random.gumbel(key, (*shape, self.logits.shape[-1]), jnp.float32)

    def sample(self, noise: Float[Array, "*batch A"]) -> Int[Array, "*batch"]:
        """An action by the Gumbel-max trick."""
        return jnp.argmax(self.logits + noise, axis=-1).astype(jnp.int32)

    def log_prob(self, action: Int[Array, "*batch"]) -> Float[Array, "*batch"]:
        """Log π(a|s)."""
        logp = jax.nn.log_softmax(self.logits)
        # a one-hot sum: its gradient is a product, that of a gather is a scatter
        chosen = jax.nn.one_hot(action, logp.shape[-1], dtype=logp.dtype)
        return jnp.sum(logp * chosen, axis=-1)

    def entropy(self) -> Float[Array, "*batch"]:
        """−Σ π log π."""
        logp = jax.nn.log_softmax(self.logits)
        return -jnp.sum(jnp.exp(logp) * logp, axis=-1)

    def kl(self, other: "Categorical") -> Float[Array, "*batch"]:
        """Σ π (log π − log π_other)."""
        logp, logq = jax.nn.log_softmax(self.logits), jax.nn.log_softmax(other.logits)
        return jnp.sum(jnp.exp(logp) * (logp - logq), axis=-1)

    def mode(self) -> Int[Array, "*batch"]:
        """The action with the largest logit."""
        return jnp.argmax(self.logits, axis=-1).astype(jnp.int32)

    @property
    def mask_size(self) -> int:
        """Number L of elements of a mask."""
        return self.logits.shape[-1]

    def masked(self, mask: Int[Array, "*batch A"]) -> "Categorical":
        """The distribution given that the action is valid."""
        sizes = (self.logits.shape[-1],)
        return Categorical(masked_choices(self.logits, mask, sizes, jnp))


class MultiCategorical(struct.PyTreeNode):
    """A independent choices, the i-th among `nvec[i]` values; logits concatenated."""

    logits: Array  # [*batch, Σ nvec]
    nvec: tuple[int, ...] = struct.field(pytree_node=False)

    def _each(self) -> list[Categorical]:
        ends = itertools.accumulate(self.nvec)
        return [
            Categorical(self.logits[..., end - n : end])
            for n, end in zip(self.nvec, ends, strict=True)
        ]

    def _sum(self, parts: Iterable[Array]) -> Array:
        return sum(parts, start=jnp.zeros(self.logits.shape[:-1]))

    def noise(self, key: Key[Array, ""], shape: tuple[int, ...]) -> Array:
        """Standard Gumbel noise for each choice, as in `Categorical`."""
        return jax.random.gumbel(key, (*shape, sum(self.nvec)), jnp.float32)

    def sample(self, noise: Float[Array, "*batch L"]) -> Int[Array, "*batch A"]:
        """An action by the Gumbel-max trick, for each choice."""
        return MultiCategorical(self.logits + noise, self.nvec).mode()

    def log_prob(self, action: Int[Array, "*batch A"]) -> Float[Array, "*batch"]:
        """Σ over the choices of log π(a_i|s)."""
        dists = enumerate(self._each())
        return self._sum(dist.log_prob(action[..., i]) for i, dist in dists)

    def entropy(self) -> Float[Array, "*batch"]:
        """Sum of the choices' entropies."""
        return self._sum(dist.entropy() for dist in self._each())

    def kl(self, other: "MultiCategorical") -> Float[Array, "*batch"]:
        """Sum of the choices' divergences."""
        pairs = zip(self._each(), other._each(), strict=True)
        return self._sum(mine.kl(theirs) for mine, theirs in pairs)

    def mode(self) -> Int[Array, "*batch A"]:
        """The value with the largest logit, for each choice."""
        return jnp.stack([dist.mode() for dist in self._each()], axis=-1)

    @property
    def mask_size(self) -> int:
        """Number L of elements of a mask."""
        return self.logits.shape[-1]

    def masked(self, mask: Int[Array, "*batch L"]) -> "MultiCategorical":
        """The distribution given that all values are valid."""
        logits = masked_choices(self.logits, mask, self.nvec, jnp)
        return MultiCategorical(logits, self.nvec)


class Bernoulli(struct.PyTreeNode):
    """A independent bits, each 1 with probability σ(logit)."""

    logits: Array  # [*batch, A]

    def noise(self, key: Key[Array, ""], shape: tuple[int, ...]) -> Array:
        """Standard logistic noise: a bit is 1 where logit + noise > 0."""
        return jax.random.logistic(key, (*shape, self.logits.shape[-1]), jnp.float32)

    def sample(self, noise: Float[Array, "*batch A"]) -> Int[Array, "*batch A"]:
        """The bits: P(logit + noise > 0) = σ(logit)."""
        return (self.logits + noise > 0).astype(jnp.int32)

    def log_prob(self, action: Int[Array, "*batch A"]) -> Float[Array, "*batch"]:
        """Σ log σ(±logit), with + if the bit is 1."""
        sign = jnp.where(action > 0, 1.0, -1.0)
        return jnp.sum(jax.nn.log_sigmoid(sign * self.logits), axis=-1)

    def entropy(self) -> Float[Array, "*batch"]:
        """Σ [softplus(l) − l·σ(l)], which is −p log p − (1 − p) log(1 − p)."""
        mean = jax.nn.sigmoid(self.logits) * self.logits
        return jnp.sum(jax.nn.softplus(self.logits) - mean, axis=-1)

    def kl(self, other: "Bernoulli") -> Float[Array, "*batch"]:
        """Σ [p (l − l_other) − softplus(l) + softplus(l_other)]."""
        weighted = jax.nn.sigmoid(self.logits) * (self.logits - other.logits)
        partition = jax.nn.softplus(other.logits) - jax.nn.softplus(self.logits)
        return jnp.sum(weighted + partition, axis=-1)

    def mode(self) -> Int[Array, "*batch A"]:
        """1 where it is more probable than 0."""
        return (self.logits > 0).astype(jnp.int32)

    @property
    def mask_size(self) -> int:
        """Number L of elements of a mask."""
        return 2 * self.logits.shape[-1]

    def masked(self, mask: Int[Array, "*batch L"]) -> "Bernoulli":
        """The distribution given valid bits; the mask has (may be 0, may be 1) each."""
        return Bernoulli(masked_bits(self.logits, mask, jnp))


class DiagGaussian(struct.PyTreeNode):
    """An independent normal per action dimension; densities of the unclipped action."""

    mean: Array  # [*batch, A]
    log_std: Array  # [*batch, A]

    def noise(self, key: Key[Array, ""], shape: tuple[int, ...]) -> Array:
        """Standard normal noise."""
        return jax.random.normal(key, (*shape, self.mean.shape[-1]), jnp.float32)

    def sample(self, noise: Float[Array, "*batch A"]) -> Float[Array, "*batch A"]:
        """Mean + std · noise."""
        return self.mean + jnp.exp(self.log_std) * noise

    def log_prob(self, action: Float[Array, "*batch A"]) -> Float[Array, "*batch"]:
        """−½ Σ [((a − μ)/σ)² + 2 log σ + log 2π]."""
        z = (action - self.mean) * jnp.exp(-self.log_std)
        return -0.5 * jnp.sum(z**2 + 2 * self.log_std + math.log(2 * math.pi), axis=-1)

    def entropy(self) -> Float[Array, "*batch"]:
        """Σ [log σ + ½ log 2πe]."""
        return jnp.sum(self.log_std + 0.5 * math.log(2 * math.pi * math.e), axis=-1)

    def kl(self, other: "DiagGaussian") -> Float[Array, "*batch"]:
        """Σ [log σ₂/σ₁ + (σ₁² + (μ₁ − μ₂)²)/(2σ₂²) − ½]."""
        ratio = jnp.exp(2 * (self.log_std - other.log_std))
        distance = ((self.mean - other.mean) * jnp.exp(-other.log_std)) ** 2
        return 0.5 * jnp.sum(
            2 * (other.log_std - self.log_std) + ratio + distance - 1, axis=-1
        )

    def mode(self) -> Float[Array, "*batch A"]:
        """The mean."""
        return self.mean
