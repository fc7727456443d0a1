"""Keys of JAX's generator, computed without a compiled program.

`jax.random.key` and `fold_in` compile a program each in every process, which takes a
tenth of a second before anything has been trained.
"""

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from pgcli.arrays.shapes import Array

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
WORD = 2**32 - 1


def key(seed: int, *numbers: int) -> Array:
    """`jax.random.key(seed)` with each of the numbers folded in, one after the other.

    The generator is Threefry, whichever one JAX uses by default.

    Args:
      seed: below 2³².
      numbers: below 2³².
    """
    words = (0, seed)
    for number in numbers:
        words = _threefry(words, (0, number))
    return as_keys(np.array(words, np.uint32))


def stack(keys: Iterable[Array], sharding: Any = None) -> Array:
    """Keys of shape [] as one array of keys, on the devices of a sharding."""
    words = np.stack([jax.random.key_data(each) for each in keys])
    return as_keys(words if sharding is None else jax.device_put(words, sharding))


def as_keys(words: Any) -> Array:
    """The keys with these words [..., 2]."""
    keys: Array = jax.random.wrap_key_data(words, impl="threefry2x32")
    return keys


def _threefry(key: tuple[int, int], block: tuple[int, int]) -> tuple[int, int]:
    """Threefry-2x32 with 20 rounds (Salmon et al., 2011)."""
    schedule = (*key, key[0] ^ key[1] ^ PARITY)
    a, b = (block[0] + schedule[0]) & WORD, (block[1] + schedule[1]) & WORD
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            a = (a + b) & WORD
            b = ((b << rotation | b >> (32 - rotation)) & WORD) ^ a
        # the key is added after every four rounds
        a = (a + schedule[(group + 1) % 3]) & WORD
        b = (b + schedule[(group + 2) % 3] + group + 1) & WORD
    return a, b
