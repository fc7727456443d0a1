"""The trust region: direction, length, bound and rejection, each by another route."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.update_cases import (
    FULL,
    RAW,
    Case,
    ascent,
    begin,
    case,
    every_action,
    flat,
    hyperparameters,
    program,
    update,
)

from pgcli.algos import natural_gradient
from pgcli.algos.advantage import rollout_advantage
from pgcli.algos.base import as_leaves
from pgcli.algos.batch import make_batch
from pgcli.algos.conjugate_gradient import conjugate_gradient
from pgcli.config.algorithms import TRPOConfig
from pgcli.nn.distributions import Categorical
from pgcli.training.loops.device_loop import RUN_ONCE

RAW_ADVANTAGE = {"standardize_advantage": False}
PLAIN = {**RAW_ADVANTAGE, **FULL}
POLICY_PARTS = ("head", "log_std")


def solve(matrix: np.ndarray, b: np.ndarray, iterations: int) -> tuple[Any, Any]:
    run = jax.jit(
        lambda matrix, b: conjugate_gradient(lambda x: matrix @ x, b, iterations)
    )
    return run(np.float32(matrix), np.float32(b))


def positive_definite(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(size, size))
    return root @ root.T + np.eye(size), rng.normal(size=size)


@pytest.mark.parametrize("iterations", [6, 50])
def test_conjugate_gradient_solves_in_as_many_steps_as_dimensions(
    iterations: int,
) -> None:
    matrix, b = positive_definite(6, 0)
    x, residual = solve(matrix, b, iterations)
    np.testing.assert_allclose(x, np.linalg.solve(matrix, b), atol=1e-4)
    assert residual < 1e-3


def test_conjugate_gradient_says_how_far_it_is_from_the_solution() -> None:
    matrix, b = positive_definite(6, 1)
    x, residual = solve(matrix, b, 2)
    exact = np.linalg.norm(b - matrix @ np.asarray(x, np.float64))
    np.testing.assert_allclose(residual, exact, rtol=1e-4)
    assert residual > 0.1


def test_conjugate_gradient_of_nothing_is_nothing() -> None:
    matrix, b = positive_definite(4, 2)
    x, residual = solve(matrix, 0 * b, 10)
    np.testing.assert_array_equal(x, np.zeros(4))
    assert residual == 0


def test_conjugate_gradient_stops_where_curvature_does() -> None:
    x, residual = solve(np.diag([1.0, -1.0]), np.array([0.0, 1.0]), 10)
    np.testing.assert_array_equal(x, np.zeros(2))
    assert residual == 1


def batch_of(made: Case) -> Any:
    credit = rollout_advantage(made.rollout, jnp.float32(0.99), jnp.float32(0.95))
    return make_batch(made.rollout, *credit, 2)


def dense_products(made: Case, dampings: list[float]) -> list[np.ndarray]:
    """The matrix that conjugate gradients are given, one basis vector at a time."""
    vector, unravel = jax.flatten_util.ravel_pytree(made.params)

    class Seen(Exception):  # noqa: N818
        """Ends the step once its matrix is known: the rest need not be compiled."""

    def spy(matvec: Any, b: Any, iterations: int) -> Any:
        raise Seen(jax.vmap(matvec)(jnp.eye(b.size)))

    def run(config: TRPOConfig, vector: Any, batch: Any) -> Any:
        problem = natural_gradient.make_problem(made.policy, batch, unravel)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(natural_gradient, "conjugate_gradient", spy)
            with pytest.raises(Seen) as seen:
                natural_gradient.natural_step(config, problem, vector)
        return seen.value.args[0]

    compiled = jax.jit(run, compiler_options=RUN_ONCE)
    configs = [as_leaves(TRPOConfig(cg_damping=d, cg_iterations=1)) for d in dampings]
    return [np.asarray(compiled(c, vector, batch_of(made))) for c in configs]


def fisher(made: Case) -> np.ndarray:
    """mean over states of Jᵀ·F·J, with F that of the distribution in closed form."""
    vector, unravel = jax.flatten_util.ravel_pytree(made.params)
    obs = made.rollout.obs.reshape(-1, 2)

    def outputs(vector: Any) -> Any:
        _, dist, _ = made.policy.apply(unravel(vector), (), obs, jnp.zeros(len(obs)))
        if isinstance(dist, Categorical):
            return (dist.logits,)
        return dist.mean, dist.log_std

    both = jax.jit(
        lambda x: (jax.jacobian(outputs)(x), outputs(x)), compiler_options=RUN_ONCE
    )
    parts, heads = jax.tree.map(lambda x: np.asarray(x, np.float64), both(vector))
    if len(parts) == 1:
        pi = np.exp(heads[0]) / np.exp(heads[0]).sum(-1, keepdims=True)
        middle = np.eye(pi.shape[1]) * pi[:, None] - pi[:, :, None] * pi[:, None]
        return np.einsum("bip,bij,bjq->pq", parts[0], middle, parts[0]) / len(obs)
    scale = np.exp(-2 * heads[1])
    by_mean = np.einsum("bip,bi,biq->pq", parts[0], scale, parts[0])
    return (by_mean + 2 * np.einsum("bip,biq->pq", parts[1], parts[1])) / len(obs)


@every_action
def test_hessian_vector_product_is_the_fisher_matrix(action: str) -> None:
    made = case(action, network=True)
    exact = fisher(made)
    assert np.linalg.norm(exact) > 0.1
    dampings = [0.0, 0.1]
    for damping, found in zip(dampings, dense_products(made, dampings), strict=True):
        damped = exact + damping * np.eye(len(exact))
        np.testing.assert_allclose(found, damped, atol=2e-6)


@every_action
def test_step_is_the_natural_gradient_of_length_delta(action: str) -> None:
    made = case(action)
    learner, metrics = update(action, "trpo", max_kl=0.01, cg_damping=0.1, **PLAIN)
    gradient = ascent(update(action, "a2c", **RAW)[0])  # g is that of a2c
    damped = fisher(made) + 0.1 * np.eye(gradient.size)
    x = np.linalg.solve(damped, gradient.astype(np.float64))
    full = np.sqrt(2 * 0.01 / (x @ damped @ x)) * x
    fraction = float(metrics["step_fraction"])
    tried = [0.8**k for k in range(10)]
    assert np.isclose(fraction, tried, rtol=1e-5).any()
    moved = flat(learner.agent.params) - flat(made.params)
    policy = gradient != 0
    np.testing.assert_allclose(moved[policy], fraction * full[policy], atol=2e-6)
    predicted = fraction * gradient @ full
    np.testing.assert_allclose(metrics["predicted_improvement"], predicted, rtol=1e-4)


def mean_kl(made: Case, params: Any) -> float:
    """Mean KL(π_θ'‖π_θ), in float64 from the heads."""
    _, dist, _ = made.policy.apply(params, (), made.rollout.obs, made.rollout.start)
    old, new = (
        jax.tree.map(lambda x: np.asarray(x, np.float64), d)
        for d in (made.rollout.dist, dist)
    )
    if isinstance(dist, Categorical):
        logp, logq = (
            x.logits - np.log(np.exp(x.logits).sum(-1, keepdims=True))
            for x in (old, new)
        )
        return float(np.mean(np.sum(np.exp(logp) * (logp - logq), axis=-1)))
    var, new_var = np.exp(2 * old.log_std), np.exp(2 * new.log_std)
    away = (new.mean - old.mean) ** 2
    each = new.log_std - old.log_std + (var + away) / (2 * new_var) - 0.5
    return float(np.mean(each.sum(-1)))


@pytest.mark.parametrize("max_kl", [0.01, 1.0])
@every_action
def test_step_keeps_the_mean_kl_below_delta(action: str, max_kl: float) -> None:
    fractions = []
    for seed in range(6):
        options = {"max_kl": max_kl, "cg_damping": 1e-3, **PLAIN}
        learner, metrics = update(action, "trpo", seed=seed, **options)
        kl = mean_kl(case(action, seed), learner.agent.params)
        assert kl <= max_kl * (1 + 1e-4)
        np.testing.assert_allclose(metrics["kl"], kl, rtol=1e-3, atol=1e-6)
        fractions.append(float(metrics["step_fraction"]))
        if fractions[-1] > 0:
            assert kl > 0.01 * max_kl
            assert metrics["improvement"] > 0
    assert max(fractions) > 0


def test_improvement_is_that_of_the_surrogate() -> None:
    made = case("box")
    learner, metrics = update("box", "trpo", max_kl=0.1, **PLAIN)
    _, dist, _ = made.policy.apply(
        learner.agent.params, (), made.rollout.obs, made.rollout.start
    )
    ratio = np.exp(np.asarray(dist.log_prob(made.rollout.action) - made.rollout.logp))
    advantage, _ = rollout_advantage(made.rollout, jnp.float32(0.99), jnp.float32(0.95))
    exact = np.mean((ratio - 1) * advantage)
    np.testing.assert_allclose(metrics["improvement"], exact, rtol=1e-3)
    assert metrics["policy_loss"] == -metrics["improvement"]


def assert_rejected(before: Any, learner: Any, metrics: Any) -> None:
    """The old policy bit for bit, and nothing that is not finite."""
    for name in POLICY_PARTS:
        mine, old = (np.asarray(x[name]) for x in (learner.agent.params, before))
        assert mine.tobytes() == old.tobytes(), name
    assert metrics["step_fraction"] == 0
    assert metrics["improvement"] == 0
    for leaf in jax.tree.leaves(learner):
        assert np.isfinite(leaf).all()


@every_action
def test_step_without_advantages_is_rejected(action: str) -> None:
    made = case(action)
    found = update(action, "trpo", made.without_advantage(), **PLAIN)
    assert_rejected(made.params, *found)
    assert all(np.isfinite(x) for x in found[1].values())


def test_line_search_shortens_what_goes_too_far_or_rejects_it() -> None:
    rejected = 0
    for seed in range(6):
        made = case("box", seed)
        options = {"seed": seed, "max_kl": 1.0, **PLAIN}
        fraction = float(update("box", "trpo", **options)[1]["step_fraction"])
        # all ten tries within a hundredth of the whole step
        learner, metrics = update("box", "trpo", backtrack_factor=0.999, **options)
        if fraction == 1:
            assert metrics["step_fraction"] == 1
        elif fraction > 0:
            rejected += 1
            assert_rejected(made.params, learner, metrics)
            assert all(np.isfinite(x) for x in metrics.values())
            assert learner.agent.params["value"][0] != made.params["value"][0]
    assert rejected >= 1


def test_step_of_curvature_that_is_not_finite_is_rejected() -> None:
    # σ = e⁻⁶⁰: 1/σ² overflows in the Fisher matrix
    made = case("box")
    params = made.params | {"log_std": made.params["log_std"] - 60}
    assert_rejected(params, *update("box", "trpo", params=params, **PLAIN))


@every_action
def test_step_of_a_gradient_that_is_not_finite_is_rejected(action: str) -> None:
    made = case(action)
    reward = made.rollout.reward.at[3, 1].set(jnp.inf)
    found = update(action, "trpo", made.rollout.replace(reward=reward), **PLAIN)
    assert_rejected(made.params, *found)


@pytest.mark.parametrize("acted", ["even", "sharp"])
def test_trust_region_bounds_the_kl_from_the_acting_policy(acted: str) -> None:
    # p = (½, ½), q = (.9, .1): KL(p‖q) = .5108 and KL(q‖p) = .3681, with a bound of .44
    # between them. θ is the one and θ' the other. Backtracks end in steps of 1e-9, at
    # which the KL is what it was; the surrogate improves towards the second action.
    even, sharp = (jnp.log(jnp.float32(p)) for p in ([0.5, 0.5], [0.9, 0.1]))
    before, now = (even, sharp) if acted == "even" else (sharp, even)
    made = case("discrete")
    shape = made.rollout.dist.logits.shape
    sign = 1.0 if acted == "sharp" else -1.0
    rollout = made.without_advantage().replace(
        obs=jnp.zeros_like(made.rollout.obs).at[..., 0].set(1),
        dist=Categorical(jnp.broadcast_to(before, shape)),
        # gains lie away from θ', so that no backtrack can also bring the KL down
        reward=sign * made.rollout.action.astype(jnp.float32),
        logp=jnp.zeros(shape[:2]),
    )
    params = made.params | {"head": jnp.stack([now, jnp.zeros(2)])}
    _, metrics = update(
        "discrete",
        "trpo",
        rollout,
        params=params,
        max_kl=0.44,
        cg_damping=10.0,  # away from θ' the curvature need not be positive
        backtrack_factor=0.1,
        **PLAIN,
    )
    assert (metrics["step_fraction"] > 0) == (acted == "sharp")


def test_critic_learns_and_never_moves_the_policy() -> None:
    once, often = (
        update("box", "trpo", num_epochs=n, num_minibatches=m, **RAW_ADVANTAGE)
        for n, m in ((1, 1), (10, 4))
    )
    for name in POLICY_PARTS:
        mine, theirs = (np.asarray(x[0].agent.params[name]) for x in (once, often))
        assert mine.tobytes() == theirs.tobytes()
    assert often[0].opt_state.count == 40
    # the first is the loss before any step, the second the mean over all
    assert often[1]["value_loss"] < once[1]["value_loss"]


def test_vmap_over_seeds_is_separate_runs() -> None:
    # accepted at once, shortened, rejected without advantages, and not finite
    action = "box"
    cases = [case(action, seed) for seed in range(5)]
    rollouts = [made.rollout for made in cases]
    rollouts[2] = cases[2].without_advantage()
    rollouts[3] = rollouts[3].replace(reward=rollouts[3].reward.at[0, 0].set(jnp.nan))
    options = {"max_kl": 1.0, **PLAIN}
    hyper = hyperparameters("trpo", **options)
    learners = [begin(action, "trpo", made.params, **options) for made in cases]
    run = program(action, "trpo")
    stacked = jax.tree.map(
        lambda *xs: jnp.stack(xs), *zip(learners, rollouts, strict=True)
    )
    batched = jax.jit(
        jax.vmap(run.__wrapped__, in_axes=(None, 0, 0)), compiler_options=RUN_ONCE
    )
    together = batched(hyper, *stacked)
    fractions = []
    for i, (learner, rollout) in enumerate(zip(learners, rollouts, strict=True)):
        alone, metrics = run(hyper, learner, rollout)
        mine, found = jax.tree.map(lambda x, i=i: x[i], together)
        fractions.append(float(metrics["step_fraction"]))
        assert found["step_fraction"] == metrics["step_fraction"]
        np.testing.assert_allclose(
            flat(mine.agent.params), flat(alone.agent.params), atol=1e-5
        )
        if i in (2, 3):
            assert_rejected(cases[i].params, mine, found)
    assert sum(fraction > 0 for fraction in fractions) >= 2
