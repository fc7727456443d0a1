"""Distributions against SciPy, numerical integration and numbers worked by hand."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats
from support.toys import quick_jit

from pgcli.nn.distributions import (
    Bernoulli,
    Categorical,
    DiagGaussian,
    Distribution,
    MultiCategorical,
)

LOGITS = np.array([[0.3, -1.2, 2.0], [0.0, 5.0, -5.0]], np.float32)
MEAN = np.array([[0.5, -1.0], [0.0, 3.0]], np.float32)
LOG_STD = np.array([[-0.7, 0.4], [0.0, 1.0]], np.float32)
# two choices, of two and of three values
MULTI = np.array([[0.4, -0.3, 0.3, -1.2, 2.0], [1.0, 0.0, 0.0, 3.0, -5.0]], np.float32)
NVEC = (2, 3)
BITS = np.array([[0.7, -2.0], [3.0, 0.1]], np.float32)
DISTRIBUTIONS = {
    "categorical": Categorical(jnp.asarray(LOGITS)),
    "gaussian": DiagGaussian(jnp.asarray(MEAN), jnp.asarray(LOG_STD)),
    "multi": MultiCategorical(jnp.asarray(MULTI), NVEC),
    "bernoulli": Bernoulli(jnp.asarray(BITS)),
}
ALLOWED = np.array([[1, 0, 1], [0, 1, 1]], np.int8)
every = pytest.mark.parametrize("name", sorted(DISTRIBUTIONS))

kl = quick_jit(lambda first, second: first.kl(second))
log_prob = quick_jit(lambda dist, action: dist.log_prob(action))
entropy = quick_jit(lambda dist: dist.entropy())
mode = quick_jit(lambda dist: dist.mode())
masked = quick_jit(lambda dist, allowed: dist.masked(allowed))


@partial(quick_jit, static_argnums=2)
def samples(dist: Distribution, key: jax.Array, count: int) -> jax.Array:
    """[count, batch, …]."""
    noise = dist.noise(key, (count, *jax.tree.leaves(dist)[0].shape[:-1]))
    return jax.vmap(dist.sample)(noise)


def categorical(*probabilities: float) -> Categorical:
    return Categorical(np.log(np.float32([probabilities])))


def gaussian(mean: float, std: float) -> DiagGaussian:
    return DiagGaussian(np.float32([[mean]]), np.log(np.float32([[std]])))


def test_categorical_log_prob_matches_scipy() -> None:
    exact = special.log_softmax(LOGITS, axis=-1)
    for action in range(3):
        found = log_prob(DISTRIBUTIONS["categorical"], np.full(2, action, np.int32))
        np.testing.assert_allclose(found, exact[:, action], atol=1e-6)


def test_categorical_entropy_matches_scipy() -> None:
    exact = stats.entropy(special.softmax(LOGITS.astype(np.float64), axis=-1), axis=-1)
    found = entropy(DISTRIBUTIONS["categorical"])
    np.testing.assert_allclose(found, exact, atol=1e-6)


def test_gaussian_log_prob_matches_scipy() -> None:
    action = np.array([[0.1, 2.0], [-4.0, 3.0]], np.float32)
    exact = stats.norm.logpdf(action, MEAN, np.exp(LOG_STD)).sum(-1)
    found = log_prob(DISTRIBUTIONS["gaussian"], action)
    np.testing.assert_allclose(found, exact, rtol=1e-6)


def test_gaussian_entropy_matches_scipy() -> None:
    exact = stats.norm.entropy(MEAN, np.exp(LOG_STD)).sum(-1)
    found = entropy(DISTRIBUTIONS["gaussian"])
    np.testing.assert_allclose(found, exact, rtol=1e-6)


def test_gaussian_kl_matches_its_integral() -> None:
    p, q = stats.norm(0.5, 0.7), stats.norm(-0.2, 1.3)
    exact, _ = integrate.quad(
        lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)), -8, 8, epsabs=1e-9
    )
    found = kl(gaussian(0.5, 0.7), gaussian(-0.2, 1.3))
    np.testing.assert_allclose(found, exact, rtol=1e-5)


def test_gaussian_kl_adds_up_over_dimensions() -> None:
    other = DiagGaussian(np.zeros((2, 2), np.float32), np.ones((2, 2), np.float32))
    apart = [
        float(kl(gaussian(mean, math.exp(log_std)), gaussian(0, math.e))[0])
        for mean, log_std in zip(MEAN[0], LOG_STD[0], strict=True)
    ]
    found = kl(DISTRIBUTIONS["gaussian"], other)[0]
    np.testing.assert_allclose(found, sum(apart), rtol=1e-5)


def test_categorical_kl_is_from_self_to_other() -> None:
    # p = (½, ½), q = (¼, ¾): KL(p‖q) = ½ln(½/¼) + ½ln(½/¾) = ½ln2 + ½ln⅔ = ½ln(4/3)
    # and KL(q‖p) = ¼ln(¼/½) + ¾ln(¾/½) = ¼ln½ + ¾ln(3/2): 0.144 against 0.131.
    p, q = categorical(0.5, 0.5), categorical(0.25, 0.75)
    np.testing.assert_allclose(kl(p, q), 0.5 * math.log(4 / 3), atol=1e-6)
    backward = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    np.testing.assert_allclose(kl(q, p), backward, atol=1e-6)


def test_gaussian_kl_is_from_self_to_other() -> None:
    # p = N(0, 1), q = N(1, 2²): KL(p‖q) = ln2 + (1 + 1)/(2·4) − ½ = ln2 − ¼
    # and KL(q‖p) = −ln2 + (4 + 1)/2 − ½ = 2 − ln2.
    p, q = gaussian(0, 1), gaussian(1, 2)
    np.testing.assert_allclose(kl(p, q), math.log(2) - 0.25, atol=1e-6)
    np.testing.assert_allclose(kl(q, p), 2 - math.log(2), atol=1e-6)


@every
def test_kl_to_itself_is_zero_and_has_zero_gradient(name: str) -> None:
    dist = DISTRIBUTIONS[name]
    np.testing.assert_allclose(kl(dist, dist), 0, atol=1e-7)
    grad = quick_jit(jax.grad(lambda other: jnp.sum(dist.kl(other))))(dist)
    np.testing.assert_allclose(jax.tree.leaves(grad)[0], 0, atol=1e-6)


@every
def test_entropy_is_the_mean_surprise_of_its_samples(name: str) -> None:
    dist, count = DISTRIBUTIONS[name], 20_000
    actions = samples(dist, jax.random.key(0), count)
    surprise = -np.asarray(quick_jit(jax.vmap(dist.log_prob))(actions))
    # five standard errors: the key is fixed, so this is room, not luck
    room = 5 * surprise.std(axis=0) / math.sqrt(count) + 1e-5
    assert (np.abs(surprise.mean(axis=0) - entropy(dist)) < room).all()


def test_categorical_samples_with_its_probabilities() -> None:
    found = samples(DISTRIBUTIONS["categorical"], jax.random.key(1), 20_000)
    p = special.softmax(LOGITS[0].astype(np.float64))
    counts = np.bincount(np.asarray(found)[:, 0], minlength=3)
    assert stats.chisquare(counts, 20_000 * p).pvalue > 1e-3


def test_gaussian_samples_with_its_density() -> None:
    found = np.asarray(samples(DISTRIBUTIONS["gaussian"], jax.random.key(2), 20_000))
    for index in np.ndindex(MEAN.shape):
        exact = stats.norm(MEAN[index], np.exp(LOG_STD[index])).cdf
        assert stats.kstest(found[:, *index], exact).pvalue > 1e-3


@every
def test_mode_is_the_most_probable_action(name: str) -> None:
    dist = DISTRIBUTIONS[name]
    expected = {
        "categorical": LOGITS.argmax(-1),
        "gaussian": MEAN,
        "multi": np.stack([MULTI[:, :2].argmax(-1), MULTI[:, 2:].argmax(-1)], -1),
        "bernoulli": [[1, 0], [1, 1]],  # where the logit is positive
    }
    np.testing.assert_array_equal(mode(dist), expected[name])
    others = quick_jit(jax.vmap(dist.log_prob))(samples(dist, jax.random.key(3), 50))
    assert (np.asarray(log_prob(dist, mode(dist))) >= np.asarray(others)).all()


@every
def test_noise_needs_only_the_shapes_of_a_distribution(name: str) -> None:
    dist, key = DISTRIBUTIONS[name], jax.random.key(4)
    prototype = jax.eval_shape(lambda: dist)
    assert isinstance(jax.tree.leaves(prototype)[0], jax.ShapeDtypeStruct)
    drawn = prototype.noise(key, (5, 2))
    width = {"categorical": 3, "gaussian": 2, "multi": 5, "bernoulli": 2}[name]
    assert drawn.shape == (5, 2, width)
    np.testing.assert_array_equal(drawn, dist.noise(key, (5, 2)))


@every
def test_distributions_keep_the_protocol_under_vmap(name: str) -> None:
    dist = DISTRIBUTIONS[name]
    assert isinstance(dist, Distribution)

    def methods(dist: Distribution) -> tuple:
        return dist.entropy(), dist.kl(dist), dist.log_prob(dist.mode())

    each, whole = quick_jit(jax.vmap(methods))(dist), quick_jit(methods)(dist)
    for found, expected in zip(each, whole, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_mask_gives_forbidden_actions_no_probability() -> None:
    dist = masked(DISTRIBUTIONS["categorical"], ALLOWED)
    p = special.softmax(np.asarray(dist.logits), axis=-1)
    logp = [log_prob(dist, np.full(2, a, np.int32)) for a in range(3)]
    np.testing.assert_allclose(np.exp(logp).T, p, atol=1e-6)
    kept = np.where(ALLOWED, special.softmax(LOGITS, axis=-1), 0)
    np.testing.assert_allclose(p, kept / kept.sum(-1, keepdims=True), atol=1e-6)
    assert (p[ALLOWED == 0] == 0).all()


def test_mask_is_never_sampled_nor_the_mode() -> None:
    dist = masked(DISTRIBUTIONS["categorical"], ALLOWED)
    found = np.asarray(samples(dist, jax.random.key(5), 5_000))
    assert set(found[:, 0]) == {0, 2}
    assert 0 not in found[:, 1]
    assert list(mode(dist)) == [2, 1]


def test_mask_keeps_kl_entropy_and_gradients_finite() -> None:
    whole = DISTRIBUTIONS["categorical"]
    part = masked(whole, ALLOWED)
    for first, second in ((whole, part), (part, whole), (part, part)):
        assert np.isfinite(kl(first, second)).all()
    assert np.isfinite(entropy(part)).all()

    def total(logits: jax.Array) -> jax.Array:
        new = Categorical(logits).masked(jnp.asarray(ALLOWED))
        return jnp.sum(part.kl(new) + new.entropy() + new.log_prob(new.mode()))

    assert np.isfinite(quick_jit(jax.grad(total))(whole.logits)).all()


def test_kl_between_equal_masks_is_that_of_the_allowed_actions() -> None:
    # actions 0 and 2 of both, renormalised: p = (½, ½), q = (¼, ¾), as above
    allowed = np.array([[1, 0, 1]], np.int8)
    p = masked(categorical(0.4, 0.2, 0.4), allowed)
    q = masked(categorical(0.1, 0.6, 0.3), allowed)
    np.testing.assert_allclose(kl(p, q), 0.5 * math.log(4 / 3), atol=1e-6)


def table(dist: Distribution, actions: np.ndarray) -> np.ndarray:
    """log π(a|s) of every action [K, A]: [K, batch]."""
    rows = np.broadcast_to(actions[:, None], (len(actions), 2, actions.shape[1]))
    return np.asarray(quick_jit(jax.vmap(dist.log_prob))(rows), np.float64)


SEVERAL = {
    "multi": (
        np.array(list(np.ndindex(NVEC)), np.int32),
        MultiCategorical(jnp.asarray(MULTI[::-1] * 0.5), NVEC),
    ),
    "bernoulli": (
        np.array(list(np.ndindex(2, 2)), np.int32),
        Bernoulli(jnp.asarray(BITS[::-1] * 0.5)),
    ),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_joint_distributions_agree_with_enumeration(name: str) -> None:
    # Σ_a π = 1, H = −Σ π log π and KL = Σ π (log π − log π_other) over every action
    actions, other = SEVERAL[name]
    dist = DISTRIBUTIONS[name]
    logp, logq = table(dist, actions), table(other, actions)
    p = np.exp(logp)
    np.testing.assert_allclose(p.sum(0), 1, atol=1e-5)
    np.testing.assert_allclose(entropy(dist), -(p * logp).sum(0), atol=1e-5)
    np.testing.assert_allclose(kl(dist, other), (p * (logp - logq)).sum(0), atol=1e-5)


@pytest.mark.parametrize("name", SEVERAL)
def test_joint_distributions_sample_every_action_with_its_probability(
    name: str,
) -> None:
    actions, _ = SEVERAL[name]
    dist, count = DISTRIBUTIONS[name], 20_000
    found = np.asarray(samples(dist, jax.random.key(6), count))[:, 0]
    assert found.dtype == np.int32
    counts = [(found == action).all(-1).sum() for action in actions]
    p = np.exp(table(dist, actions)[:, 0])
    assert stats.chisquare(counts, count * p / p.sum()).pvalue > 1e-3


def test_multi_categorical_of_one_choice_is_a_categorical() -> None:
    one, multi = DISTRIBUTIONS["categorical"], MultiCategorical(LOGITS, (3,))
    action = np.array([2, 0], np.int32)
    np.testing.assert_allclose(
        log_prob(multi, action[:, None]), log_prob(one, action), atol=1e-6
    )
    np.testing.assert_allclose(entropy(multi), entropy(one), atol=1e-6)
    np.testing.assert_array_equal(mode(multi)[:, 0], mode(one))


def test_bernoulli_is_a_choice_between_two_of_which_one_has_logit_zero() -> None:
    pairs = np.stack([np.zeros_like(BITS), BITS], axis=-1).reshape(2, 4)
    multi, bits = MultiCategorical(pairs, (2, 2)), DISTRIBUTIONS["bernoulli"]
    action = np.array([[1, 0], [0, 1]], np.int32)
    np.testing.assert_allclose(
        log_prob(bits, action), log_prob(multi, action), atol=1e-6
    )
    np.testing.assert_allclose(entropy(bits), entropy(multi), atol=1e-6)


def test_bernoulli_stays_finite_where_a_bit_is_certain() -> None:
    sure = Bernoulli(np.float32([[200.0, -200.0]]))
    np.testing.assert_allclose(entropy(sure), 0, atol=1e-6)
    np.testing.assert_allclose(kl(sure, sure), 0, atol=1e-6)
    np.testing.assert_allclose(log_prob(sure, np.int32([[1, 0]])), 0, atol=1e-6)


def test_mask_of_several_choices_is_never_sampled() -> None:
    allowed = np.array([[1, 0, 1, 1, 0]] * 2, np.int8)
    found = np.asarray(
        samples(masked(DISTRIBUTIONS["multi"], allowed), jax.random.key(7), 2_000)
    )
    assert set(found[..., 0].reshape(-1)) == {0}
    assert set(found[..., 1].reshape(-1)) == {0, 1}
