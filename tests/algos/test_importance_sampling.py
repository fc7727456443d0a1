"""Importance sampling, lecture §6: right in one step, biased in several, and noisy."""

from typing import Any

import numpy as np
from support.tabular_mdp import (
    MDP,
    Estimates,
    all_batches,
    batch_probabilities,
    estimates,
    expectation,
    objective,
    objective_gradient,
    params_of,
    rollout_of,
    softmax,
    total_variance,
    trajectories,
)

RAW = {
    "gamma": 1.0,
    "gae_lambda": 1.0,
    "value_coef": 0.0,
    "standardize_advantage": False,
    "num_epochs": 1,
    "num_minibatches": 1,
}
BANDIT = MDP(moves=[[[(1.0, reward, None)] for reward in (1.0, 2.0, 0.5)]], limit=1)
ACTED = np.array([[0.3, -0.2, 0.1]])
TOWARDS = np.array([[-1.0, 1.0, 0.4]])
DISTANCES = (0.0, 0.5, 1.0, 1.5)


def off_policy(
    mdp: MDP, acted: np.ndarray, logits: np.ndarray, size: int, *wanted: str
) -> tuple[np.ndarray, Estimates]:
    """(probability, estimates) of `is-pg` at θ on every batch that θ' can make."""
    episodes = trajectories(mdp)
    probability = np.array([e.probability(acted) for e in episodes])
    batches = all_batches(len(episodes), size)
    rollout = rollout_of(params_of(acted), episodes)
    found = estimates(
        "is-pg", params_of(logits), rollout, batches, wanted=wanted, **RAW
    )
    return batch_probabilities(probability, batches), found


def one_step(distance: float) -> tuple[np.ndarray, np.ndarray, Any]:
    """(θ, probability, estimates) in one step, θ being so far from θ'."""
    logits = ACTED + distance * TOWARDS
    return (
        logits,
        *off_policy(BANDIT, ACTED, logits, 2, "policy_loss", "ess", "ratio_max"),
    )


def test_one_step_estimate_has_the_right_mean_however_far_apart() -> None:
    for distance in DISTANCES:
        logits, probability, found = one_step(distance)
        value = expectation(probability, -found.metrics["policy_loss"])
        np.testing.assert_allclose(value, objective(BANDIT, logits), atol=1e-6)
        gradient = expectation(probability, found.gradient)
        exact = objective_gradient(BANDIT, logits)
        np.testing.assert_allclose(gradient, exact, atol=1e-6)


def test_variance_rises_and_ess_falls_as_the_policies_part() -> None:
    found = [one_step(distance)[1:] for distance in DISTANCES]
    variance = [total_variance(p, x.gradient) for p, x in found]
    noise = [total_variance(p, -x.metrics["policy_loss"][:, None]) for p, x in found]
    ess = [expectation(p, x.metrics["ess"]) for p, x in found]
    assert np.all(np.diff(noise) > 0)
    assert noise[-1] > 5 * noise[0]
    assert variance[-1] > variance[0]
    np.testing.assert_allclose(ess[0], 1, rtol=1e-6)
    assert np.all(np.diff(ess) < 0)


def test_ess_of_a_large_batch_tends_to_the_inverse_second_moment_of_the_ratio() -> None:
    # (Σr)²/(B·Σr²) → E[r]²/E[r²] = 1/Σ_a π²/π'; a batch with each action in its share
    acted, logits = np.log([[0.5, 0.25, 0.25]]), np.log([[0.25, 0.25, 0.5]])
    episodes = trajectories(BANDIT)
    rollout = rollout_of(params_of(acted), episodes)
    batch = np.array([[0, 0, 1, 2]])
    found = estimates(
        "is-pg",
        params_of(logits),
        rollout,
        batch,
        wanted=("ess", "ratio_max", "kl"),
        **RAW,
    ).metrics
    # r is ½, 1 and 2 at the start, and Adam's step of 1e-3 hardly moves it:
    # Σr = 4, Σr² = 5.5, ESS = 16/(4·5.5); KL = ½ log 2 − ¼ log 2
    np.testing.assert_allclose(found["ess"], 16 / 22, atol=2e-3)
    np.testing.assert_allclose(found["ratio_max"], 2, atol=5e-3)
    np.testing.assert_allclose(found["kl"], 0.25 * np.log(2), atol=2e-3)


FORK = MDP(
    moves=(
        (((1.0, 0.0, 1),), ((1.0, 0.0, 2),)),
        (((1.0, 1.0, None),), ((1.0, 0.0, None),)),
        (((1.0, 0.0, None),), ((1.0, 3.0, None),)),
    ),
    limit=2,
)
"""The first action chooses a state, the second is paid there."""
FORK_ACTED = np.array([[0.4, -0.4], [0.1, 0.2], [-0.3, 0.0]])
FORK_TOWARDS = np.array([[-1.0, 1.0], [0.3, -0.3], [-0.2, 0.2]])


def several_steps(distance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(θ, E of the per-step estimate, ∇J(θ)) so far from θ'."""
    logits = FORK_ACTED + distance * FORK_TOWARDS
    probability, found = off_policy(FORK, FORK_ACTED, logits, 1)
    # the code averages over the two steps where ∇J sums over them
    estimate = 2 * expectation(probability, found.gradient)
    return logits, estimate, objective_gradient(FORK, logits)


def test_several_steps_are_unbiased_at_the_policy_that_acted() -> None:
    _, estimate, exact = several_steps(0.0)
    np.testing.assert_allclose(estimate, exact, atol=1e-6)


def test_bias_over_several_steps_is_the_dropped_ratio_of_states() -> None:
    # In the second states nothing follows the action, so Â is that of θ as well: what
    # is missing is p_θ(s)/p_θ'(s) alone, "we take them to be about equal".
    for distance in (0.5, 1.0):
        logits, estimate, exact = several_steps(distance)
        dropped = softmax(logits)[0] / softmax(FORK_ACTED)[0]
        assert abs(dropped - 1).min() > 0.3
        for state, ratio in zip((1, 2), dropped, strict=True):
            np.testing.assert_allclose(ratio * estimate[state], exact[state], atol=1e-6)


def test_bias_over_several_steps_grows_with_the_distance() -> None:
    bias = []
    for distance in (0.0, 0.25, 0.5, 1.0):
        _, estimate, exact = several_steps(distance)
        bias.append(np.linalg.norm(estimate - exact) / np.linalg.norm(exact))
    assert bias[0] < 1e-5
    assert np.all(np.diff(bias) > 0.02)
    assert bias[-1] > 0.3
