"""Logits of invalid actions, for distributions in JAX and for acting in NumPy.

An invalid action has probability exactly 0: it adds 0 to entropies and divergences,
with finite gradients, and no noise makes a sample of it. Its logit must be finite for
that, because 0 · ∞ is NaN, and below that of every valid action, however negative.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

MASKED_LOGIT = -1e9
LARGEST = 1e8
"""Valid logits differ by at most this: a probability of exp(−1e8) is 0 in any case."""


def masked_choices(logits: Any, mask: Any, sizes: Sequence[int], xp: Any) -> Any:
    """Logits [*batch, L] of choices, concatenated, with those of invalid values masked.

    The largest valid logit of each choice becomes 0, which changes no probability.

    Args:
      logits: [*batch, L].
      mask: [*batch, L], 0 for invalid values.
      sizes: number of values of each choice; their sum is L.
      xp: `numpy` or `jax.numpy`.
    """
    parts = []
    for end, size in zip(itertools.accumulate(sizes), sizes, strict=True):
        part = logits[..., end - size : end]
        valid = mask[..., end - size : end] > 0
        best = xp.where(valid, part, xp.finfo(part.dtype).min)
        best = best.max(axis=-1, keepdims=True)
        if xp is jnp:
            best = jax.lax.stop_gradient(best)
        shifted = xp.maximum(part - best, -LARGEST)
        parts.append(xp.where(valid, shifted, MASKED_LOGIT))
    return parts[0] if len(parts) == 1 else xp.concatenate(parts, axis=-1)


def masked_bits(logits: Any, mask: Any, xp: Any) -> Any:
    """Logits [*batch, A] of bits that are 1, with those of fixed bits at ±1e9.

    Args:
      logits: [*batch, A].
      mask: [*batch, 2 · A]: for each bit, whether it may be 0 and whether it may be 1.
      xp: `numpy` or `jax.numpy`.
    """
    pairs = mask.reshape(*logits.shape, 2) > 0
    free = xp.where(pairs[..., 1], logits.clip(-LARGEST, LARGEST), MASKED_LOGIT)
    return xp.where(pairs[..., 0], free, -MASKED_LOGIT)
