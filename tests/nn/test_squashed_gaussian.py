"""The squashed Gaussian against SciPy, integrals and samples; its ends; its bounds."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from support.toys import quick_jit

from pgcli.config.schema import NetworkConfig
from pgcli.envs.base import Box, Discrete, EnvSpec
from pgcli.errors import UsageError
from pgcli.nn.distributions import DiagGaussian
from pgcli.nn.heads import LOG_STD_RANGE, Head, make_head
from pgcli.nn.squashed_gaussian import SquashedGaussian

BOX = Box((2,), "float32", (-2.0, 0.0), (2.0, 1.0))
SPEC = EnvSpec("toy", Discrete(2), BOX)
HALF = np.array([2.0, 0.5])
LOG_SCALE = float(np.log(HALF).sum())
MEAN = np.float32([[0.5, -1.0], [0.0, 3.0]])
LOG_STD = np.float32([[-0.7, 0.4], [0.0, 0.5]])


def head(**network: Any) -> Head:
    return make_head(SPEC, NetworkConfig(distribution="squashed_gaussian", **network))


def squashed(mean: Any, log_std: Any, log_scale: float = 0.0) -> SquashedGaussian:
    return SquashedGaussian(jnp.float32(mean), jnp.float32(log_std), log_scale)


DIST = squashed(MEAN, LOG_STD, LOG_SCALE)
log_prob = quick_jit(lambda dist, u: dist.log_prob(u))
entropy = quick_jit(lambda dist: dist.entropy())


def test_log_prob_is_the_density_of_the_action() -> None:
    # a = low + (high − low)·(1 + tanh u)/2: log p(a) = log N(u) − Σ log|da/du|
    u = np.array([[0.1, 2.0], [-1.5, 0.3]])
    slope = HALF * (1 - np.tanh(u) ** 2)
    exact = stats.norm.logpdf(u, MEAN, np.exp(LOG_STD)).sum(-1) - np.log(slope).sum(-1)
    found = log_prob(DIST, np.float32(u))
    np.testing.assert_allclose(found, exact, rtol=1e-5)


def test_density_integrates_to_one_over_the_bounds() -> None:
    a = np.linspace(-2, 2, 20_002)[1:-1]  # the ends are u = ±∞
    dist = squashed([[0.5]], [[-0.7]], math.log(2))
    rows = jnp.float32(np.arctanh(a / 2))[:, None]
    density = np.exp(np.asarray(quick_jit(dist.log_prob)(rows), float))
    np.testing.assert_allclose(integrate.trapezoid(density, a), 1, atol=1e-3)


@pytest.mark.parametrize(("log_std", "error"), [(-3, 2e-6), (0.6, 1e-5), (1.1, 1e-3)])
def test_entropy_is_its_integral(log_std: float, error: float) -> None:
    # H = E[−log p(a)] over u in float64; means from the centre to the ends
    std, means = math.exp(log_std), np.array([0.0, 0.3, 1.0, 4.0])

    def surprise(z: float, mean: float) -> float:
        u = mean + std * z
        log_slope = 2 * (math.log(2) - abs(u) - math.log1p(math.exp(-2 * abs(u))))
        return stats.norm.pdf(z) * (log_slope - stats.norm.logpdf(z) + log_std)

    exact = [
        integrate.quad(surprise, -9, 9, args=(m,), points=[-m / std], limit=200)[0]
        if m / std < 9
        else integrate.quad(surprise, -9, 9, args=(m,), limit=200)[0]
        for m in means
    ]
    found = entropy(squashed(means[:, None], np.full((4, 1), log_std)))
    np.testing.assert_allclose(found, exact, atol=error, rtol=1e-6)


def test_entropy_is_the_mean_surprise_of_its_samples() -> None:
    noise = DIST.noise(jax.random.key(0), (20_000, 2))
    one = jax.vmap(lambda noise: DIST.log_prob(DIST.sample(noise)))
    surprise = -np.asarray(quick_jit(one)(noise))
    room = 5 * surprise.std(axis=0) / math.sqrt(len(surprise))
    assert (np.abs(surprise.mean(axis=0) - entropy(DIST)) < room).all()


def test_kl_is_that_before_the_tanh() -> None:
    other = squashed(MEAN + 0.3, LOG_STD / 2, LOG_SCALE)
    before = [DiagGaussian(dist.mean, dist.log_std) for dist in (DIST, other)]
    kl = quick_jit(lambda a, b: a.kl(b))
    np.testing.assert_array_equal(kl(DIST, other), kl(*before))


def test_extreme_actions_have_finite_densities_and_gradients() -> None:
    # a million values before the tanh, up to ±10⁶ and nearly all rounded to a bound
    count = 10**6
    generator = np.random.default_rng(0)
    size = 10 ** generator.uniform(0, 6, count)
    u = np.float32(generator.choice([-1, 1], count) * size)

    @quick_jit
    def both(u: Any) -> Any:
        def total(mean: Any, log_std: Any) -> Any:
            size = (count, 1)
            dist = squashed(
                jnp.broadcast_to(mean, size), jnp.broadcast_to(log_std, size)
            )
            logp = dist.log_prob(u[:, None])
            return jnp.mean(logp), logp

        grads = jax.value_and_grad(total, (0, 1), has_aux=True)
        return grads(jnp.zeros((1, 1)), jnp.zeros((1, 1)))

    (_, logp), gradients = both(u)
    assert np.isfinite(logp).all()
    assert all(np.isfinite(x).all() for x in gradients)
    # and the ratio of equal policies is 1
    np.testing.assert_array_equal(np.exp(np.asarray(logp) - both(u)[0][1]), 1)
    assert (np.abs(head().squash(np.stack([u, u], -1))[:, 0]) <= 2).all()


def test_gradient_at_the_centre_is_that_of_the_slope() -> None:
    # d/dμ log p(a(μ + σ z)) at fixed z: −d/du log(1 − tanh² u) = 2 tanh u, also at 0
    def of_mean(mean: Any) -> Any:
        dist = squashed(mean, jnp.zeros((1, 1)))
        return dist.log_prob(dist.sample(jnp.zeros((1, 1))))[0]

    grad = quick_jit(jax.grad(of_mean))
    for mean in (0.0, 0.5, -30.0):
        found = grad(jnp.full((1, 1), mean))[0, 0]
        np.testing.assert_allclose(found, 2 * math.tanh(mean), atol=1e-6)


def test_actions_and_modes_are_inside_the_bounds() -> None:
    squash = head().squash
    u = np.float32([[0.0, 0.0], [-100, 100], [0.5, -0.5]])
    exact = np.array([0, 0.5]) + HALF * np.tanh(u)
    for rows in (u, jnp.asarray(u)):
        np.testing.assert_allclose(squash(rows), exact, atol=1e-6)
    np.testing.assert_array_equal(DIST.mode(), MEAN)


def test_log_std_of_the_state_is_an_output_within_limits() -> None:
    shape = head(log_std="state", log_std_init=-1.0)
    assert (shape.num_outputs, shape.num_log_std) == (4, 0)
    dist = shape.make_dist(jnp.float32([[1, 2, 0.5, 90]]), jnp.zeros(0))
    np.testing.assert_array_equal(dist.mean, [[1, 2]])
    np.testing.assert_array_equal(dist.log_std, [[-0.5, LOG_STD_RANGE[1]]])
    assert dist.log_scale == LOG_SCALE
    with pytest.raises(UsageError, match="log_std_init is 3, and"):
        head(log_std="state", log_std_init=3.0)
