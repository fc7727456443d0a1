"""What each rung buys: the variance of its gradient, over every batch there is.

The documented MDP: five steps, three actions, of which one pays 1 and the others .01,
independently of the step. The policy is nearly uniform. Rewards are positive, and their
spread is larger than their mean, as where few actions pay.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from support.tabular_mdp import (
    MDP,
    all_batches,
    batch_probabilities,
    estimates,
    expectation,
    objective_gradient,
    params_of,
    rollout_of,
    state_values,
    total_variance,
    trajectories,
)

STEPS = 5
PAY = (0.01, 1.0, 0.01)
LADDER = MDP(
    moves=[
        [[(1.0, pay, t + 1 if t + 1 < STEPS else None)] for pay in PAY]
        for t in range(STEPS)
    ],
    limit=STEPS,
)
NEAR_UNIFORM = 0.1 * np.random.default_rng(0).normal(size=(STEPS, 3))


class Estimator(NamedTuple):
    """The mean and the total variance of a rung's estimate of ∇J."""

    mean: np.ndarray
    variance: float


RUNGS: dict[str, tuple[str, dict[str, Any]]] = {
    "reinforce": ("reinforce", {}),
    "baseline": ("reinforce-baseline", {"baseline": "leave_one_out"}),
    "reward-to-go": ("reward-to-go", {"baseline": "leave_one_out", "gamma": 1.0}),
    "true V": (
        "a2c",
        {
            "gamma": 1.0,
            "gae_lambda": 1.0,
            "value_coef": 0.0,
            "standardize_advantage": False,
        },
    ),
}


@cache
def estimator(name: str) -> Estimator:
    """A rung on every unordered pair of trajectories; all estimates are symmetric."""
    algo, hyper = RUNGS[name]
    episodes = trajectories(LADDER)
    probability = np.array([e.probability(NEAR_UNIFORM) for e in episodes])
    # V of the state that step t is in: here a state is a step
    value = np.diag(state_values(LADDER, NEAR_UNIFORM)[:STEPS])
    params = params_of(NEAR_UNIFORM, value)
    pairs = all_batches(len(episodes), 2)
    pairs = pairs[pairs[:, 0] <= pairs[:, 1]]
    weights = batch_probabilities(probability, pairs)
    weights *= np.where(pairs[:, 0] < pairs[:, 1], 2, 1)
    rollout = rollout_of(params, episodes)
    gradient = estimates(algo, params, rollout, pairs, **hyper).gradient
    # a2c averages over steps where ∇J sums over them
    gradient *= STEPS if algo == "a2c" else 1
    return Estimator(expectation(weights, gradient), total_variance(weights, gradient))


@pytest.mark.parametrize("name", RUNGS)
def test_every_rung_estimates_the_same_gradient(name: str) -> None:
    exact = objective_gradient(LADDER, NEAR_UNIFORM)
    np.testing.assert_allclose(estimator(name).mean, exact, atol=2e-6)


def test_variance_falls_up_the_ladder() -> None:
    found = [estimator(name).variance for name in RUNGS]
    # per step and pair, with mean m = .34 and variance v = .22 of a reward:
    # E[R²] ~ 25m² + 5v; 2·5v; (26v + 10m²)/5; 15v/5. Each rung takes off a third.
    for above, below in zip(found[1:], found[:-1], strict=True):
        assert above < 0.75 * below


def test_baseline_raises_the_variance_of_a_nearly_deterministic_good_policy() -> None:
    # One step: the good action pays 1 and is taken with probability .99, the other pays
    # 0. |∇log π|² is 2(1 − π)² = 2e-4 and 1.96. With b = 0 the rare one counts nothing:
    # .99·2e-4 less the mean; with b = E[R] = .99 it weighs .01·1.96·.98 = .019.
    mdp = MDP(moves=[[[(1.0, 1.0, None)], [(1.0, 0.0, None)]]], limit=1)
    logits = np.array([[np.log(99.0), 0.0]])
    episodes, params = trajectories(mdp), params_of(logits)
    probability = np.array([e.probability(logits) for e in episodes])
    np.testing.assert_allclose(probability, [0.99, 0.01])
    rollout, each = rollout_of(params, episodes), all_batches(2, 1)
    plain = estimates("reinforce", params, rollout, each).gradient
    memory = np.float32(0.99), np.float32(1)  # the running b is exactly E[R]
    centred = estimates(
        "reinforce-baseline", params, rollout, each, memory, baseline="running"
    ).gradient
    np.testing.assert_allclose(
        expectation(probability, centred), expectation(probability, plain), atol=1e-7
    )
    before, after = (total_variance(probability, x) for x in (plain, centred))
    assert before < 2e-4
    assert 0.018 < after < 0.02
