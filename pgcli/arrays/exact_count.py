"""Exact counts above 2³²: integers of JAX have 32 bits, and runs can be longer."""

import jax.numpy as jnp

from pgcli.arrays.shapes import Array, Bool, Float, UInt32

Counter = UInt32[Array, "2"]


def zero() -> Counter:
    """The count 0, as (high, low) words."""
    return jnp.zeros(2, jnp.uint32)


def add(count: Counter, amount: UInt32[Array, ""]) -> Counter:
    """`count + amount`, exact up to 2⁶⁴."""
    low = count[1] + amount
    carry = (low < amount).astype(jnp.uint32)
    return jnp.stack([count[0] + carry, low])


def less(a: Counter, b: Counter) -> Bool[Array, ""]:
    """Whether `a < b`, exactly."""
    return (a[0] < b[0]) | ((a[0] == b[0]) & (a[1] < b[1]))


def to_float(count: Counter) -> Float[Array, ""]:
    """The count as float32, rounded once: for ratios, never for further counting."""
    words: Array = count.astype(jnp.float32)
    return words[0] * 2.0**32 + words[1]
