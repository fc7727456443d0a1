"""The clipped objective, its gradient, and what is said of an update."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.toys import (
    DISCRETE,
    linear_policy,
    quick_jit,
    random_rollout,
    random_transitions,
)
from support.toys import spec_of as toy_spec

from pgcli.algos.batch import make_batch
from pgcli.algos.surrogate import clipped_surrogate, diagnostics, value_loss

EPS = 0.2
surrogate = quick_jit(clipped_surrogate)
slope = quick_jit(jax.grad(lambda r, a, e: clipped_surrogate(r, a, e)))


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.1, 2.0, 2.2),  # inside: r·Â
        (1.5, 2.0, 2.4),  # beyond 1 + ε with Â > 0: (1 + ε)·Â
        (0.5, 2.0, 1.0),  # below 1 − ε with Â > 0: r·Â, the smaller
        (1.5, -2.0, -3.0),  # beyond 1 + ε with Â < 0: r·Â, the smaller
        (0.5, -2.0, -1.6),  # below 1 − ε with Â < 0: (1 − ε)·Â
    ],
)
def test_clipped_surrogate_matches_numbers_worked_by_hand(
    ratio: float, advantage: float, expected: float
) -> None:
    found = surrogate(np.float32(ratio), np.float32(advantage), np.float32(EPS))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@given(st.floats(0.015625, 3, width=32), st.floats(-4, 4, width=16))
def test_clipped_surrogate_is_flat_exactly_where_the_figure_is(
    ratio: float, advantage: float
) -> None:
    assume(abs(abs(ratio - 1) - EPS) > 1e-3)  # a kink has no slope
    assume(abs(advantage) > 1e-3)
    found = slope(np.float32(ratio), np.float32(advantage), np.float32(EPS))
    flat = (advantage > 0 and ratio > 1 + EPS) or (advantage < 0 and ratio < 1 - EPS)
    np.testing.assert_allclose(found, 0 if flat else advantage, rtol=1e-6)


@given(st.floats(0, 10, width=32), st.floats(-10, 10, width=32))
def test_clipped_surrogate_with_wide_clip_is_the_ratio_times_advantage(
    ratio: float, advantage: float
) -> None:
    found = surrogate(np.float32(ratio), np.float32(advantage), np.float32(1e9))
    assert found == np.float32(ratio) * np.float32(advantage)


@given(st.floats(0, 10, width=32), st.floats(-10, 10, width=32))
def test_clipped_surrogate_is_a_lower_bound_that_touches_at_one(
    ratio: float, advantage: float
) -> None:
    found = surrogate(np.float32(ratio), np.float32(advantage), np.float32(EPS))
    assert found <= np.float32(ratio) * np.float32(advantage)
    at_one = surrogate(np.float32(1), np.float32(advantage), np.float32(EPS))
    assert at_one == np.float32(advantage)


def test_value_loss_is_half_the_square() -> None:
    found = value_loss(jnp.array([3.0]), jnp.array([0.0]), jnp.array([1.0]), None)
    assert found[0] == 2  # ½(3 − 1)²


@pytest.mark.parametrize(
    ("value", "return_", "expected"),
    [
        (1.25, 3.0, 1.53125),  # inside ½ of the old 1: ½(1.25 − 3)²
        (2.5, 3.0, 1.125),  # moved past 1.5 towards R: ½(1.5 − 3)² > ½(2.5 − 3)²
        (2.5, 1.0, 1.125),  # moved past 1.5 away from R: ½(2.5 − 1)² > ½(1.5 − 1)²
    ],
)
def test_value_clip_takes_the_larger_loss(
    value: float, return_: float, expected: float
) -> None:
    found = value_loss(
        jnp.array([value]), jnp.array([1.0]), jnp.array([return_]), jnp.float32(0.5)
    )
    assert found[0] == expected


def test_value_clip_stops_the_gradient_of_a_value_that_went_too_far() -> None:
    def loss(value: jax.Array, return_: float) -> jax.Array:
        args = jnp.array([1.0]), jnp.array([return_]), jnp.float32(0.5)
        return value_loss(value[None], *args)[0]

    assert jax.grad(loss)(jnp.float32(2.5), 3.0) == 0  # the clipped form is larger
    assert jax.grad(loss)(jnp.float32(2.5), 1.0) == 1.5  # V − R̂ pulls it back


@pytest.fixture(scope="module")
def diagnosed() -> dict:
    """Diagnostics of a policy that moved, and the same worked out in NumPy."""
    policy = linear_policy(toy_spec(DISCRETE))
    old = policy.init(jax.random.key(0))
    new = policy.init(jax.random.key(1))
    rollout = random_rollout(policy, old, random_transitions(DISCRETE, 0, 5, 4))
    weight = jnp.asarray(np.random.default_rng(1).random((5, 4)) < 0.7, jnp.float32)
    rollout = rollout.replace(weight=weight)
    batch = make_batch(rollout, rollout.reward, rollout.reward + 1, 2)
    found = quick_jit(lambda p: diagnostics(policy, p, batch, jnp.float32(EPS)))(new)

    real = np.asarray(weight) > 0
    _, dist, _ = policy.apply(new, (), rollout.obs, rollout.start)
    logits = np.asarray(dist.logits, np.float64)[real]
    before = np.asarray(rollout.dist.logits, np.float64)[real]
    action = np.asarray(rollout.action)[real]

    def log_softmax(x: np.ndarray) -> np.ndarray:
        return x - np.log(np.exp(x).sum(-1, keepdims=True))

    logq, logp = log_softmax(before), log_softmax(logits)
    rows = np.arange(action.size)
    ratio = np.exp(logp[rows, action] - logq[rows, action])
    target = np.asarray(rollout.reward)[real] + 1
    error = target - np.asarray(rollout.value)[real]
    exact = {
        "kl": (np.exp(logq) * (logq - logp)).sum(-1).mean(),
        "ratio_max": ratio.max(),
        "ess": ratio.sum() ** 2 / (ratio.size * (ratio**2).sum()),
        "entropy": -(np.exp(logp) * logp).sum(-1).mean(),
        "explained_variance": 1 - error.var() / target.var(),
        "clip_fraction": (np.abs(ratio - 1) > EPS).mean(),
    }
    return {"found": found, "exact": exact, "ratio": ratio}


def test_diagnostics_match_numpy_on_real_samples(diagnosed: dict) -> None:
    assert set(diagnosed["found"]) == set(diagnosed["exact"])
    for name, value in diagnosed["exact"].items():
        np.testing.assert_allclose(
            diagnosed["found"][name], value, rtol=1e-4, atol=1e-6, err_msg=name
        )


def test_diagnostics_tell_the_clip_fraction_apart(diagnosed: dict) -> None:
    # the case is worth something only if some ratios are clipped and some are not
    assert 0 < diagnosed["exact"]["clip_fraction"] < 1


def test_diagnostics_of_a_policy_that_did_not_move() -> None:
    policy = linear_policy(toy_spec(DISCRETE))
    params = policy.init(jax.random.key(0))
    rollout = random_rollout(policy, params, random_transitions(DISCRETE, 0, 5, 4))
    batch = make_batch(rollout, rollout.reward, rollout.reward, 1)
    found = quick_jit(lambda p: diagnostics(policy, p, batch))(params)
    np.testing.assert_allclose(found["kl"], 0, atol=1e-6)
    np.testing.assert_allclose(found["ratio_max"], 1, atol=1e-5)
    np.testing.assert_allclose(found["ess"], 1, atol=1e-5)
    assert "clip_fraction" not in found
