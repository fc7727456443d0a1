"""Keys that are computed without a program are those of JAX."""

import jax
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pgcli.arrays import random_keys

WORDS = st.integers(0, 2**32 - 1)


@given(WORDS, st.lists(WORDS, max_size=3))
def test_key_is_that_of_jax(seed: int, numbers: list[int]) -> None:
    expected = jax.random.key(np.uint32(seed))
    for number in numbers:
        expected = jax.random.fold_in(expected, np.uint32(number))
    key = random_keys.key(seed, *numbers)
    assert jax.typeof(key) == jax.typeof(expected)
    assert key == expected


def test_stack_has_the_keys_in_their_order() -> None:
    keys = [random_keys.key(seed) for seed in (1, 2)]
    assert (random_keys.stack(keys) == jax.numpy.stack(keys)).all()


def test_generator_of_the_user_is_not_used() -> None:
    with jax.default_prng_impl("rbg"):
        assert random_keys.key(0).dtype == jax.random.key(0, impl="threefry2x32").dtype
