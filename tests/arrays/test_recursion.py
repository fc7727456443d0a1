"""Recursions over time: the form for accelerators computes what that for CPUs does."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.toys import quick_jit

from pgcli.arrays.recursion import UNROLLED, recur


@pytest.mark.parametrize("reverse", [False, True])
def test_recursion_on_an_accelerator_is_that_of_the_cpu(
    reverse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = jax.random.normal(jax.random.key(0), (2 * UNROLLED + 5, 3))

    def returns(x: jax.Array) -> Any:
        def step(total: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
            total = x + 0.9 * total
            return total, total

        return recur(step, jnp.zeros(3), x, reverse=reverse)

    found = quick_jit(returns)(x)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    elsewhere = quick_jit(lambda x: returns(x))(x)
    # a product and a sum per step, rounded once or twice
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-5), found, elsewhere)
    totals = found[1][::-1] if reverse else found[1]
    np.testing.assert_allclose(totals[-1], found[0])
