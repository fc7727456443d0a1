"""Exact counts, against Python's integers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.toys import quick_jit

from pgcli.arrays import exact_count

WRAP = 2**32
counts = st.integers(0, 2**60) | st.integers(WRAP - 50, WRAP + 50)
amounts = st.integers(0, WRAP - 1)

add, less = quick_jit(exact_count.add), quick_jit(exact_count.less)


def words(count: int) -> jax.Array:
    return jnp.array([count >> 32, count & (WRAP - 1)], jnp.uint32)


def number(count: jax.Array) -> int:
    return (int(count[0]) << 32) | int(count[1])


@given(counts, amounts)
@example(WRAP - 1, 1)
@example(WRAP - 1, 0)
@example(WRAP - 1, WRAP - 1)
def test_add_is_exact(count: int, amount: int) -> None:
    assert number(add(words(count), np.uint32(amount))) == count + amount


@given(counts, counts)
@example(WRAP, WRAP - 1)
@example(5, 5)
def test_less_is_exact(a: int, b: int) -> None:
    assert bool(less(words(a), words(b))) == (a < b)


def test_zero_is_zero() -> None:
    assert number(exact_count.zero()) == 0


def test_add_counts_past_the_wrap_one_by_one() -> None:
    count = words(WRAP - 3)
    for _ in range(6):
        count = add(count, np.uint32(1))
    assert number(count) == WRAP + 3


@pytest.mark.parametrize("count", [0, 1, 2**24, WRAP - 1, WRAP, 3 * WRAP + 7, 2**53])
def test_to_float_is_the_count_to_float_precision(count: int) -> None:
    np.testing.assert_allclose(exact_count.to_float(words(count)), count, rtol=2e-7)
