"""One flat Adam against optax, the clip of the global norm, the schedules."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.toys import quick_jit

from pgcli.algos.base import as_leaves
from pgcli.algos.optimizer import clip_norm, descend, init_optimizer, scheduled
from pgcli.config.schema import OptimizerConfig

FLAT = jnp.array([1.0, -2.0, 3.0])


def test_clip_norm_keeps_the_direction() -> None:
    grad = jnp.array([3.0, 0.0, -4.0])  # norm 5
    found = clip_norm(grad, jnp.float32(5), 0.5)
    # every element a tenth: element-wise clipping would give (0.5, 0, −0.5)
    np.testing.assert_allclose(found, [0.3, 0, -0.4], rtol=1e-6)


@pytest.mark.parametrize("max_norm", [5.0, 6.0, None])
def test_clip_norm_leaves_short_gradients_alone(max_norm: float | None) -> None:
    grad = jnp.array([3.0, 0.0, -4.0])
    np.testing.assert_array_equal(clip_norm(grad, jnp.float32(5), max_norm), grad)


def test_clip_norm_of_no_gradient_is_none() -> None:
    found = clip_norm(jnp.zeros(3), jnp.float32(0), 0.5)
    np.testing.assert_array_equal(found, 0)


@pytest.mark.parametrize(
    ("schedule", "progress", "expected"),
    [
        ("constant", 0.0, 0.5),
        ("constant", 1.0, 0.5),
        ("linear", 0.0, 0.5),
        ("linear", 0.25, 0.375),  # ½·(1 − ¼)
        ("linear", 1.0, 0.0),
    ],
)
def test_schedule_values(schedule: str, progress: float, expected: float) -> None:
    found = scheduled(jnp.float32(0.5), schedule, jnp.float32(progress))
    assert found == expected


@pytest.mark.parametrize("max_norm", [None, 0.5])
def test_descend_equals_optax_adam(max_norm: float | None) -> None:
    config = as_leaves(OptimizerConfig(0.1, "constant", max_norm, 0.8, 0.95, 1e-3))
    clip = optax.identity() if max_norm is None else optax.clip_by_global_norm(0.5)
    reference = optax.chain(clip, optax.adam(0.1, b1=0.8, b2=0.95, eps=1e-3))
    gradient = jax.grad(lambda x: jnp.sum(jnp.array([1.0, 0.1, 4.0]) * x**4))

    @quick_jit
    def both(config: OptimizerConfig, ours: tuple, theirs: tuple) -> tuple:
        grad = gradient(ours[0])
        *ours, norm, taken = descend(config, config.lr, *ours, grad, jnp.array(True))
        with jax.numpy_dtype_promotion("standard"):
            step, state = reference.update(gradient(theirs[0]), theirs[1])
        norms = norm, jnp.linalg.norm(grad)
        return tuple(ours), (theirs[0] + step, state), norms, taken

    ours, theirs = (FLAT, init_optimizer(config, FLAT)), (FLAT, reference.init(FLAT))
    for _ in range(20):
        ours, theirs, norms, taken = both(config, ours, theirs)
        np.testing.assert_allclose(*norms, rtol=1e-5)  # the norm before clipping
        assert taken
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-5)


step = quick_jit(descend)


@pytest.mark.parametrize(
    ("grad", "allowed"),
    [
        ([1.0, 1.0, 1.0], False),
        ([1.0, np.nan, 1.0], True),
        ([np.inf, 1.0, 1.0], True),
        ([1e30, 1.0, 1.0], True),  # its norm overflows
    ],
    ids=["not allowed", "nan", "inf", "overflow"],
)
def test_descend_refuses_bit_for_bit(grad: list[float], allowed: bool) -> None:
    config = as_leaves(OptimizerConfig())
    state = init_optimizer(config, FLAT)
    # a state with memory, so that a decay without a step would be seen
    flat, state, _, first = step(config, config.lr, FLAT, state, FLAT, np.array(True))
    assert first
    after, new_state, _, taken = step(
        config, config.lr, flat, state, np.float32(grad), np.array(allowed)
    )
    assert not taken
    np.testing.assert_array_equal(after, flat)
    jax.tree.map(np.testing.assert_array_equal, new_state, state)
