"""Credit assignment against numbers worked by hand and an O(T²) closed form."""

import hypothesis.extra.numpy as hnp
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.toys import quick_jit

from pgcli.algos.advantage import explained_variance, gae, standardize, weighted_mean

SHAPE = (6, 3)
compiled = quick_jit(gae)


def advantages(
    reward: object,
    value: object,
    next_value: object,
    terminated: object = None,
    truncated: object = None,
    gamma: float = 0.5,
    gae_lambda: float = 0.5,
) -> np.ndarray:
    """`gae` of one environment's columns, or of [T, N] arrays."""
    reward = np.asarray(reward, np.float32)
    columns = reward.reshape(len(reward), -1)
    flags = [
        np.zeros(columns.shape, bool)
        if flag is None
        else np.asarray(flag, bool).reshape(columns.shape)
        for flag in (terminated, truncated)
    ]
    values = [
        np.asarray(x, np.float32).reshape(columns.shape) for x in (value, next_value)
    ]
    out = compiled(columns, *values, *flags, np.float32(gamma), np.float32(gae_lambda))
    return np.asarray(out).reshape(reward.shape)


def test_gae_matches_numbers_worked_by_hand() -> None:
    # γ = λ = ½. δ₂ = 3 + ½·8 − 4 = 3, δ₁ = 2 + ½·4 − 2 = 2, δ₀ = 1 + ½·2 − 1 = 1.
    # Â₂ = 3, Â₁ = 2 + ¼·3 = 2.75, Â₀ = 1 + ¼·2.75 = 1.6875: exact in binary.
    found = advantages([1, 2, 3], [1, 2, 4], [2, 4, 8])
    np.testing.assert_array_equal(found, [1.6875, 2.75, 3])


def test_gae_termination_bootstraps_nothing() -> None:
    # δ₁ = 2 − 2 = 0 whatever V(s'₁) is; Â₁ = 0; Â₀ = 1 + ¼·0 = 1.
    found = advantages([1, 2, 3], [1, 2, 4], [2, 1000, 8], terminated=[0, 1, 0])
    np.testing.assert_array_equal(found, [1, 0, 3])


def test_gae_truncation_bootstraps_from_final_obs() -> None:
    # V(s'₁) = 6 belongs to the final observation, not to s₂ (whose V is 4):
    # δ₁ = 2 + ½·6 − 2 = 3 = Â₁; Â₀ = 1 + ¼·3 = 1.75; the trace stops there.
    found = advantages([1, 2, 3], [1, 2, 4], [2, 6, 8], truncated=[0, 1, 0])
    np.testing.assert_array_equal(found, [1.75, 3, 3])


def test_gae_termination_wins_where_the_limit_falls_on_the_same_step() -> None:
    both = advantages([1, 2], [1, 2], [2, 6], terminated=[0, 1], truncated=[0, 1])
    np.testing.assert_array_equal(both, [1, 0])  # δ₁ = 2 − 2, δ₀ = 1 + ½·2 − 1


def test_gae_of_one_step_episodes_is_each_reward_minus_its_value() -> None:
    found = advantages([1, 2, 3], [4, 4, 4], [9, 9, 9], terminated=[1, 1, 1])
    np.testing.assert_array_equal(found, [-3, -2, -1])


def test_gae_rollout_cut_bootstraps_from_the_last_observation() -> None:
    # No episode ends: the last step still sees V(s'_T) = 8; δ = 0 + ½·8 − 1 = 3.
    np.testing.assert_array_equal(advantages([0], [1], [8]), [3])


@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_gae_end_at_the_last_step_of_a_rollout_is_an_end(end: str) -> None:
    # Terminated: δ₁ = 2 − 2 = 0. Truncated: δ₁ = 2 + ½·6 − 2 = 3. δ₀ = 1.
    found = advantages([1, 2], [1, 2], [2, 6], **{end: [0, 1]})
    expected = [1, 0] if end == "terminated" else [1.75, 3]
    np.testing.assert_array_equal(found, expected)


def test_gae_lambda_zero_is_the_td_error() -> None:
    found = advantages([1, 2, 3], [1, 2, 4], [2, 4, 8], gae_lambda=0)
    np.testing.assert_array_equal(found, [1, 2, 3])  # δ of the golden test


def test_gae_lambda_one_is_the_return_minus_value() -> None:
    # G₀ = 1 + ½·2 + ¼·3 = 2.75, G₁ = 2 + ½·3 = 3.5, G₂ = 3; minus V = (1, 2, 4).
    found = advantages(
        [1, 2, 3], [1, 2, 4], [2, 4, 8], terminated=[0, 0, 1], gae_lambda=1
    )
    np.testing.assert_array_equal(found, [1.75, 1.5, -1])


def test_gae_lambda_one_bootstraps_where_the_rollout_was_cut() -> None:
    # G₀ = 1 + ½·2 + ¼·8 = 4, G₁ = 2 + ½·8 = 6; minus V = (1, 2).
    found = advantages([1, 2], [1, 2], [2, 8], gae_lambda=1)
    np.testing.assert_array_equal(found, [3, 4])


def closed_form(
    reward: np.ndarray,
    value: np.ndarray,
    next_value: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
    gamma: float,
    gae_lambda: float,
) -> np.ndarray:
    """Â_t = Σ_l (γλ)^l δ_{t+l}, summed anew for every t up to its episode's end."""
    num_steps, num_envs = reward.shape
    out = np.zeros(reward.shape)
    for n in range(num_envs):
        for t in range(num_steps):
            for k in range(t, num_steps):
                after = 0.0 if terminated[k, n] else gamma * next_value[k, n]
                delta = reward[k, n] + after - value[k, n]
                out[t, n] += (gamma * gae_lambda) ** (k - t) * delta
                if terminated[k, n] or truncated[k, n]:
                    break
    return out


numbers = hnp.arrays(np.float32, SHAPE, elements=st.floats(-8, 8, width=16))
flags = hnp.arrays(bool, SHAPE)
units = st.floats(0, 1, width=16)


@given(numbers, numbers, numbers, flags, flags, units, units)
def test_gae_equals_its_closed_form(
    reward: np.ndarray,
    value: np.ndarray,
    next_value: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
    gamma: float,
    gae_lambda: float,
) -> None:
    args = (reward, value, next_value, terminated, truncated, gamma, gae_lambda)
    exact = closed_form(*[np.asarray(x, np.float64) for x in args[:3]], *args[3:])
    # at most 6 terms of magnitude 24, each with a few roundings of 6e-8
    np.testing.assert_allclose(advantages(*args), exact, atol=1e-4)


@given(numbers, flags, flags, st.integers(0, SHAPE[0] - 2))
def test_gae_lets_nothing_leak_over_the_end_of_an_episode(
    noise: np.ndarray, terminated: np.ndarray, truncated: np.ndarray, end: int
) -> None:
    truncated = truncated.copy()
    truncated[end] = True
    steps = np.arange(18, dtype=np.float32).reshape(SHAPE)
    later = (np.arange(SHAPE[0]) > end)[:, None]
    changed = np.where(later, noise, steps)
    before = advantages(steps, steps, steps, terminated, truncated, 0.9, 0.9)
    after = advantages(changed, changed, changed, terminated, truncated, 0.9, 0.9)
    np.testing.assert_array_equal(before[: end + 1], after[: end + 1])


def test_weighted_mean_counts_real_samples_only() -> None:
    found = weighted_mean(jnp.array([1.0, 100.0, 5.0]), jnp.array([1.0, 0.0, 1.0]))
    assert found == 3  # (1 + 5)/2


def test_weighted_mean_of_nothing_is_zero() -> None:
    assert weighted_mean(jnp.array([1.0, 2.0]), jnp.zeros(2)) == 0


def test_standardize_has_mean_zero_and_std_one_over_real_samples() -> None:
    weight = jnp.array([1.0, 1.0, 0.0, 1.0, 1.0])
    found = standardize(jnp.array([1.0, 2.0, 999.0, 3.0, 6.0]), weight)
    # mean (1 + 2 + 3 + 6)/4 = 3, variance (4 + 1 + 0 + 9)/4 = 3.5
    expected = (np.array([1, 2, 3, 6]) - 3) / np.sqrt(3.5)
    np.testing.assert_allclose(np.delete(found, 2), expected, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_standardize_forgets_scale_and_offset(scale: float) -> None:
    x = jnp.array([1.0, -2.0, 0.5, 4.0])
    found = standardize(scale * (x + 3), jnp.ones(4))
    # 1e-8 is added to the standard deviation: 1e-5 of it at the smallest scale
    np.testing.assert_allclose(found, standardize(x, jnp.ones(4)), atol=3e-5)


def test_standardize_of_one_sample_is_zero() -> None:
    found = standardize(jnp.array([7.0, 5.0]), jnp.array([0.0, 1.0]))
    assert found[1] == 0


@pytest.mark.parametrize("constant", [0.0, 0.1, -37.3, 1000.1, 3.3e5])
@pytest.mark.parametrize("size", [3, 64, 100, 2048])
def test_standardize_without_variance_is_zero(constant: float, size: int) -> None:
    # the mean of equal numbers is off by a rounding: that is no variance
    found = quick_jit(standardize)(jnp.full(size, constant), jnp.ones(size))
    np.testing.assert_array_equal(found, 0)


def test_standardize_keeps_small_differences_on_a_large_mean() -> None:
    # 1/64 on 1024 is exact in float32: the spread is real, 1.5e-5 of the mean
    x = 1024 + jnp.array([-1.0, 1.0, -1.0, 1.0]) / 64
    np.testing.assert_allclose(standardize(x, jnp.ones(4)), [-1, 1, -1, 1], rtol=1e-5)


def test_standardize_does_not_hide_what_is_not_finite() -> None:
    found = standardize(jnp.array([1.0, jnp.inf, 2.0]), jnp.ones(3))
    assert not np.isfinite(found).any()


def test_explained_variance_matches_numbers_worked_by_hand() -> None:
    # Var[R] of (1, 3, 5, 7) is 5; R − V = (1, 1, −1, −1) has 1: 1 − 1/5.
    # The third sample is not real.
    found = explained_variance(
        jnp.array([0.0, 2.0, 50.0, 6.0, 8.0]),
        jnp.array([1.0, 3.0, -9.0, 5.0, 7.0]),
        jnp.array([1.0, 1.0, 0.0, 1.0, 1.0]),
    )
    np.testing.assert_allclose(found, 0.8, atol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_explained_variance_of_a_perfect_critic_is_one(offset: float) -> None:
    x = jnp.array([1.0, 4.0, 2.0])
    assert explained_variance(x + offset, x, jnp.ones(3)) == 1


def test_explained_variance_of_a_constant_critic_is_zero() -> None:
    x = jnp.array([1.0, 4.0, 2.0])
    found = explained_variance(jnp.full(3, 5.0), x, jnp.ones(3))
    np.testing.assert_allclose(found, 0, atol=1e-6)


@pytest.mark.parametrize("constant", [0.1, 1000.1])
def test_explained_variance_of_constant_returns_is_zero(constant: float) -> None:
    value = jnp.arange(100, dtype=jnp.float32)
    found = explained_variance(value, jnp.full(100, constant), jnp.ones(100))
    assert found == 0
