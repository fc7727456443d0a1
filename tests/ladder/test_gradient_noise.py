"""Noise of the policy gradient where it is known in closed form.

T = 5 steps, a fair coin at each by two logits of its own, reward r_t = 1 + δ·x_t with
x_t = ±1 the coin and δ² = 1/4. Then ∇log π has norm² 1/2 at every step and the steps
do not overlap, so that E‖ĝ‖² = Σ_t ½·E[Ψ_t²], and E ĝ is ½·δ per step in each logit:
‖E ĝ‖² = T·½·δ² = 0.625. With k = T − t + 1 steps to go:

    Ψ = R(τ)      ½·5·(5² + 5/4)           = 65.625    tr Cov  65      ratio 104
    R(τ) − E R    ½·5·5/4                  =  3.125             2.5           4
    G             ½·Σ_k (k² + k/4)         = 29.375            28.75         46
    G − 3         ½·Σ_k ((k − 3)² + k/4)   =  6.875             6.25         10
    G − k         ½·Σ_k k/4                =  1.875             1.25          2

A baseline that ignores the time left (3, the mean of k) is worse for G than E R is for
the whole return: variance does not fall at every rung.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pgcli.ladder.gradient_noise import Noise, Trajectories, measure
from pgcli.nn.distributions import Categorical
from pgcli.nn.policy import Agent, Policy
from pgcli.rollout.types import Transitions

STEPS, DELTA = 5, 0.5
VARIANCES = {
    "R(τ)": 65.0,
    "R(τ) − mean": 2.5,
    "R(τ) − leave-one-out": 2.5,
    "G": 28.75,
    "G − mean": 6.25,
    "G − leave-one-out": 6.25,
    "G − V(s)": 1.25,
}
SIGNAL = 0.625


def policy() -> Policy:
    """Two logits and a value for each step, read off a one-hot clock."""

    def init(key: Any) -> Any:
        return {"logits": jnp.zeros((STEPS, 2)), "value": jnp.zeros((STEPS, 1))}

    def apply(params: Any, carry: Any, obs: Any, start: Any, mask: Any = None) -> Any:
        value = (obs @ params["value"])[..., 0]
        return carry, Categorical(obs @ params["logits"]), value

    return Policy(init, lambda num_envs: (), apply)


def trajectories(seed: int, count: int, padding: int = 3) -> Transitions:
    """Coin tosses, with rows of weight 0 after the end."""
    rows = STEPS + padding
    action = np.random.default_rng(seed).integers(0, 2, (rows, count), np.int32)
    weight = np.zeros((rows, count), np.float32)
    weight[:STEPS] = 1
    clock = np.zeros((rows + 1, count, STEPS), np.float32)
    for t in range(STEPS):
        clock[t, :, t] = 1
    ends = np.zeros((rows, count), bool)
    ends[STEPS - 1] = True
    return Transitions(
        obs=clock,
        action=action,
        reward=((1 + DELTA * (2 * action - 1)) * weight).astype(np.float32),
        terminated=ends,
        truncated=np.zeros_like(ends),
        start=np.zeros((rows + 1, count), bool),
        weight=weight,
        final_obs=clock[0, :0],
        final_index=np.zeros(0, np.int32),
        first_carry=(),
    )


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    network = policy()
    agent = Agent(network.init(jax.random.key(0)), None)
    return measure(
        network,
        agent,
        trajectories(0, 4000),
        trajectories(1, 500),
        0.5,
        jax.random.key(2),
    )


@pytest.mark.parametrize("name", VARIANCES)
def test_variance_is_that_of_the_closed_form(found: dict[str, Any], name: str) -> None:
    # 4,000 trajectories: the relative error of a mean of squares is about 2 %; V is
    # fitted, which costs a little more
    [row] = [row for row in found["rows"] if row["weight"] == name]
    assert row["variance"] == pytest.approx(VARIANCES[name], rel=0.08)


@pytest.mark.parametrize("name", VARIANCES)
def test_ratio_interval_holds_the_closed_form(found: dict[str, Any], name: str) -> None:
    # 95 % intervals, 7 of them, strongly dependent; widened by 5 % for the fit
    [row] = [row for row in found["rows"] if row["weight"] == name]
    low, high = row["ci"]
    assert low / 1.05 <= VARIANCES[name] / SIGNAL <= high * 1.05


def test_order_is_that_of_the_closed_form(found: dict[str, Any]) -> None:
    rows = {row["weight"]: row["variance"] for row in found["rows"]}
    names = ["G − V(s)", "R(τ) − mean", "G − mean", "G", "R(τ)"]
    assert sorted(names, key=rows.__getitem__) == names


def test_unbiased_weights_have_the_same_signal(found: dict[str, Any]) -> None:
    for row in found["rows"]:
        if row["estimates"] == "∇J":
            # one standard error of ‖Σĝ/N‖² is about 2·√(signal·variance/N)
            error = 2 * np.sqrt(SIGNAL * row["variance"] / 4000)
            assert row["own_signal"] == pytest.approx(SIGNAL, abs=4 * error)


def test_discounted_weights_are_compared_among_themselves(
    found: dict[str, Any],
) -> None:
    rows = [row for row in found["rows"] if "γ" in row["weight"]]
    assert len(rows) == 4
    # E ĝ_t = ½·δ·x again: only r_t depends on the coin of step t, and γ⁰ = 1
    assert {row["signal"] for row in rows} == {rows[0]["signal"]}
    assert rows[0]["signal"] == pytest.approx(SIGNAL, rel=0.1)


def test_fitted_value_explains_what_can_be(found: dict[str, Any]) -> None:
    # of Var G over all steps: Var k = 2, noise δ²·E k = 3/4: 2/2.75
    assert found["explained_variance"]["plain"] == pytest.approx(2 / 2.75, abs=0.03)


def test_noise_without_each_is_what_the_rest_alone_gives() -> None:
    gradients = np.random.default_rng(0).normal(1, 1, (6, 3))

    def noise(x: np.ndarray) -> Noise:
        return Noise((x**2).sum(axis=1), x @ x.sum(axis=0))

    whole = noise(gradients)
    for i in range(6):
        rest = noise(np.delete(gradients, i, axis=0))
        assert whole.variance()[i + 1] == pytest.approx(rest.variance()[0])
        assert whole.signal()[i + 1] == pytest.approx(rest.signal()[0])
    covariance = np.trace(np.cov(gradients.T))
    assert whole.variance()[0] == pytest.approx(covariance)


def test_signal_is_unbiased_by_noise() -> None:
    # mean 0: the squared norm of a mean of N is tr Cov/N, the estimate's is 0
    x = np.random.default_rng(1).normal(size=(20_000, 3))
    noise = Noise((x**2).sum(axis=1), x @ x.sum(axis=0))
    assert abs(noise.signal()[0]) < 4 * 3 / 20_000


def test_trajectories_are_cut_after_the_longest() -> None:
    collected = trajectories(0, 4, padding=30)  # 5 steps of 35: 8 are kept
    found = Trajectories.of(Agent({}, None), collected)
    assert found.weight.shape == (8, 4)
    assert found.obs.shape == (8, 4, STEPS)
    assert found.weight.sum() == 20
