"""The Monte Carlo rungs against enumeration: expectations without sampling noise."""

from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.tabular_mdp import (
    DETOUR,
    LOGITS,
    MDP,
    PLAIN,
    POLICY,
    Trajectory,
    all_batches,
    batch_probabilities,
    estimates,
    expectation,
    objective,
    objective_gradient,
    params_of,
    rollout_of,
    score,
    softmax,
    take,
    trajectories,
)
from support.toys import shape_of

from pgcli.algos import ALGORITHMS
from pgcli.algos.base import Hyperparameters, as_leaves
from pgcli.config.algorithms import ReinforceBaselineConfig
from pgcli.nn.policy import Agent
from pgcli.rollout.types import Rollout
from pgcli.training.loops.device_loop import RUN_ONCE

EXACT = 3e-6
"""A float32 gradient of numbers near 1, averaged in float64."""


class World(NamedTuple):
    """An MDP under a policy, with all that it can do."""

    params: Any
    episodes: list[Trajectory]
    probability: np.ndarray
    rollout: Rollout

    def expected(
        self, algo: str, size: int, memory: Any = None, **hyper: Any
    ) -> np.ndarray:
        """E of the gradient over every batch of `size` trajectories."""
        batches = all_batches(len(self.episodes), size)
        found = estimates(algo, self.params, self.rollout, batches, memory, **hyper)
        weights = batch_probabilities(self.probability, batches)
        return expectation(weights, found.gradient)


def world(mdp: MDP, logits: np.ndarray) -> World:
    episodes, params = trajectories(mdp), params_of(logits)
    probability = np.array([e.probability(logits) for e in episodes])
    return World(params, episodes, probability, rollout_of(params, episodes))


@cache
def detour() -> World:
    return world(DETOUR, LOGITS)


BANDIT = MDP(moves=[[[(1.0, reward, None)] for reward in (1.0, 2.0, 1.5)]], limit=1)


@cache
def bandit() -> World:
    return world(BANDIT, np.zeros((1, 3)))


def test_enumeration_is_complete_and_agrees_with_the_recursion() -> None:
    found = detour()
    assert {len(e.states) for e in found.episodes} == {1, 2, 3, 4}
    assert {e.terminated for e in found.episodes} == {True, False}
    np.testing.assert_allclose(found.probability.sum(), 1, rtol=1e-12)
    returns = np.array([sum(e.rewards) for e in found.episodes])
    expected = found.probability @ returns
    np.testing.assert_allclose(objective(DETOUR, LOGITS), expected, rtol=1e-12)


UNBIASED = [
    ("reinforce", 1, {}),
    ("reinforce", 2, {}),
    ("reinforce-baseline", 2, {"baseline": "leave_one_out"}),
    ("reinforce-baseline", 3, {"baseline": "leave_one_out"}),
    ("reward-to-go", 1, {"baseline": "none", "gamma": 1.0}),
    ("reward-to-go", 2, {"baseline": "leave_one_out", "gamma": 1.0}),
    ("reward-to-go", 3, {"baseline": "leave_one_out", "gamma": 1.0}),
]


@pytest.mark.parametrize(("algo", "size", "hyper"), UNBIASED)
def test_expected_gradient_is_that_of_the_objective(
    algo: str, size: int, hyper: dict
) -> None:
    exact = objective_gradient(DETOUR, LOGITS)
    assert np.abs(exact).max() > 0.1
    found = detour().expected(algo, size, **hyper)
    np.testing.assert_allclose(found, exact, atol=EXACT)


def test_running_baseline_of_earlier_batches_is_unbiased() -> None:
    memory = (np.float32(1.5), np.float32(0.5))  # b = 1.5/0.5 = 3
    found = detour().expected("reinforce-baseline", 2, memory, baseline="running")
    np.testing.assert_allclose(found, objective_gradient(DETOUR, LOGITS), atol=EXACT)


def test_running_baseline_is_the_decayed_mean_of_earlier_batches() -> None:
    # Returns 1, 1, 2 in turn, decay .9: total .1 → .19, mass .1 → .19, so b is 0 for
    # the first, 1 for the others: ψ is 1, 0 and 1.
    learner, psi = None, []
    for reward in (1.0, 1.0, 2.0):
        learner, gradient = step_of_running_baseline(learner, reward)
        psi.append(float(gradient[0, 0]) / score(np.zeros((1, 3)), 0, 0)[0, 0])
    np.testing.assert_allclose(psi, [1, 0, 1], atol=1e-6)
    # total .9·.19 + .1·2 = .371, mass .9·.19 + .1 = .271
    np.testing.assert_allclose(learner.memory, [0.371, 0.271], rtol=1e-6)


@cache
def running_baseline() -> Any:
    return ALGORITHMS["reinforce-baseline"](POLICY)


@cache
def running_update() -> Any:
    def run(hyper: Any, learner: Any, rollout: Rollout) -> Any:
        zero, key = jnp.float32(0), jax.random.key(0)
        return running_baseline().update(hyper, learner, rollout, zero, key)

    return jax.jit(run, compiler_options=RUN_ONCE)


def step_of_running_baseline(learner: Any, reward: float) -> tuple[Any, Any]:
    """(learner, gradient) after one trajectory of one step; nothing is learnt."""
    rollout = take(bandit().rollout, np.array([0]))
    rollout = rollout.replace(reward=0 * rollout.reward + np.float32(reward))
    algorithm = running_baseline()
    config = ReinforceBaselineConfig(baseline="running")
    hyper = Hyperparameters(as_leaves(config), as_leaves(PLAIN))
    agent = Agent(bandit().params, None)
    fresh = algorithm.init(hyper, agent, shape_of(rollout))
    learner = fresh if learner is None else fresh.replace(memory=learner.memory)
    learner, _ = running_update()(hyper, learner, rollout)
    return learner, -learner.opt_state.mu[:3].reshape(1, 3)


@pytest.mark.parametrize("size", [2, 3])
def test_mean_baseline_shrinks_the_gradient_by_its_own_share(size: int) -> None:
    # b contains R(τⁿ)/N: what is left of the gradient is exactly 1 − 1/N of it
    found = detour().expected("reinforce-baseline", size, baseline="mean")
    exact = objective_gradient(DETOUR, LOGITS)
    np.testing.assert_allclose(found, (1 - 1 / size) * exact, atol=EXACT)


def discounted_target(world: World, gamma: float) -> np.ndarray:
    """Σ_t E[∇log π(a_t)·G_t], trajectory by trajectory; nothing is weighed by γ^t."""
    total = np.zeros_like(LOGITS)
    for chance, episode in zip(world.probability, world.episodes, strict=True):
        size = len(episode.rewards)
        for t in range(size):
            later = sum(gamma ** (k - t) * episode.rewards[k] for k in range(t, size))
            pair = episode.states[t], episode.actions[t]
            total += chance * later * score(LOGITS, *pair)
    return total


@pytest.mark.parametrize(
    ("size", "baseline"), [(1, "none"), (2, "leave_one_out"), (3, "leave_one_out")]
)
def test_discounted_reward_to_go_drops_the_weight_of_late_states(
    size: int, baseline: str
) -> None:
    found = detour().expected("reward-to-go", size, gamma=0.6, baseline=baseline)
    exact = discounted_target(detour(), 0.6)
    np.testing.assert_allclose(found, exact, atol=EXACT)
    # at γ = 1 the target is ∇J; at .6 it is something else
    gradient = objective_gradient(DETOUR, LOGITS)
    np.testing.assert_allclose(discounted_target(detour(), 1), gradient, atol=1e-9)
    assert np.abs(exact - gradient).max() > 0.05


def test_standardised_weights_are_another_estimate() -> None:
    # off by default: it is a baseline and a scale, and the lesson would be void
    exact = objective_gradient(DETOUR, LOGITS)
    for algo in ("reinforce-baseline", "reward-to-go"):
        found = detour().expected(algo, 2, standardize_advantage=True)
        assert np.abs(found - exact).max() > 0.02


def test_baseline_zero_is_reinforce_bit_for_bit() -> None:
    here = detour()
    batches = all_batches(len(here.episodes), 2)
    plain = estimates("reinforce", here.params, here.rollout, batches)
    # before its first batch the running baseline is 0
    zero = estimates(
        "reinforce-baseline", here.params, here.rollout, batches, baseline="running"
    )
    np.testing.assert_array_equal(zero.gradient, plain.gradient)
    assert np.abs(plain.gradient).max() > 0.1


def test_reward_to_go_of_a_reward_at_the_end_is_the_whole_return() -> None:
    here = detour()
    ends = here.rollout.terminated | here.rollout.truncated
    late = here.rollout.replace(reward=here.rollout.reward * np.float32(ends))
    batches = all_batches(len(here.episodes), 2)
    whole = estimates("reinforce", here.params, late, batches)
    later = estimates(
        "reward-to-go", here.params, late, batches, baseline="none", gamma=1.0
    )
    np.testing.assert_array_equal(later.gradient, whole.gradient)


EQUAL = MDP(moves=DETOUR.moves, limit=1)


def shift_of_gradient(mdp: MDP, where: str, baseline: str) -> float:
    """How far a constant 5 added to `where` moves any batch's gradient, at most."""
    here = world(mdp, LOGITS)
    rollout, weight = here.rollout, here.rollout.weight
    ends = (rollout.terminated | rollout.truncated).astype(np.float32)
    more = 5 * (ends if where == "return" else weight)
    moved = rollout.replace(reward=rollout.reward + more)
    batches = all_batches(len(here.episodes), 2)
    before, after = (
        estimates("reinforce-baseline", here.params, r, batches, baseline=baseline)
        for r in (rollout, moved)
    )
    return float(np.abs(before.gradient - after.gradient).max())


def test_constant_in_every_return_leaves_the_leave_one_out_gradient() -> None:
    assert shift_of_gradient(DETOUR, "return", "leave_one_out") < 1e-5
    assert shift_of_gradient(DETOUR, "return", "running") > 1  # b = 0: it matters


def test_constant_in_every_reward_needs_episodes_of_one_length() -> None:
    assert shift_of_gradient(EQUAL, "reward", "leave_one_out") < 1e-5
    assert shift_of_gradient(DETOUR, "reward", "leave_one_out") > 1


def change_of_log_probability(gradient: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """First-order change of log π(a) along a gradient [K, A]: g_a − Σ_b π_b g_b."""
    return gradient - (gradient @ softmax(logits))[:, None]


def test_unsampled_action_loses_probability_without_a_baseline_only() -> None:
    # lecture §4, Tip 1: all rewards are positive, so all that was sampled goes up
    logits = np.array([[0.1, -0.1, 0.05]])
    here = world(BANDIT, logits)
    batches = all_batches(3, 2)
    missing = ~(batches[:, :, None] == np.arange(3)).any(axis=1)
    weights = batch_probabilities(here.probability, batches)

    def changes(algo: str, **hyper: str) -> np.ndarray:
        found = estimates(algo, here.params, here.rollout, batches, **hyper)
        return change_of_log_probability(found.gradient[:, 0], logits[0])

    raw = changes("reinforce")
    centred = changes("reinforce-baseline", baseline="leave_one_out")
    for action in range(3):
        unseen = weights * missing[:, action]
        assert unseen @ raw[:, action] / unseen.sum() < -0.3
        # with b nothing pushes it either way but the difference of what was seen
        assert abs(unseen @ centred[:, action] / unseen.sum()) < 0.05
    assert (centred[missing] > 0).any()
