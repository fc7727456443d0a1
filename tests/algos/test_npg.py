"""Natural policy gradient: TRPO's step without its line search."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.update_cases import FULL, case, every_action, flat, update

PLAIN = {"standardize_advantage": False, **FULL}
POLICY_PARTS = ("head", "log_std")


def policy_of(learner: Any) -> list[np.ndarray]:
    return [np.asarray(learner.agent.params[name]) for name in POLICY_PARTS]


@every_action
def test_step_is_that_of_trpo_where_its_line_search_takes_the_whole(
    action: str,
) -> None:
    whole = 0
    for seed in range(6):
        ours, mine = update(action, "npg", seed=seed, max_kl=1e-4, **PLAIN)
        theirs, metrics = update(action, "trpo", seed=seed, max_kl=1e-4, **PLAIN)
        if metrics["step_fraction"] == 1:
            whole += 1
            # bit for bit: the same direction and length, and the same critic
            np.testing.assert_array_equal(
                flat(ours.agent.params), flat(theirs.agent.params)
            )
            for name in ("cg_residual", "predicted_improvement", "improvement"):
                np.testing.assert_allclose(mine[name], metrics[name], atol=1e-7)
    assert whole >= 3


def test_step_is_taken_where_trpo_shortens_or_rejects_it() -> None:
    shortened = 0
    for seed in range(6):
        options = {"seed": seed, "max_kl": 1.0, **PLAIN}
        fraction = float(update("box", "trpo", **options)[1]["step_fraction"])
        learner, metrics = update("box", "npg", **options)
        if fraction < 1:
            shortened += 1
            assert metrics["kl"] > 1.0 or metrics["improvement"] <= 0
        old = case("box", seed).params
        assert any(
            (new != old[name]).any()
            for name, new in zip(POLICY_PARTS, policy_of(learner), strict=True)
        )
    assert shortened >= 1


@pytest.mark.parametrize("max_kl", [1e-4, 1e-5])
def test_kl_of_a_short_step_is_delta(max_kl: float) -> None:
    # KL = δ + O(δ^1.5) without damping, up to the rounding of a KL near 1e-5
    options = {"max_kl": max_kl, "cg_damping": 0.0, "cg_iterations": 30, **PLAIN}
    _, metrics = update("box", "npg", **options)
    np.testing.assert_allclose(metrics["kl"], max_kl, rtol=0.05)
    np.testing.assert_allclose(
        metrics["improvement"], metrics["predicted_improvement"], rtol=0.05
    )


def test_step_does_not_depend_on_the_scale_of_the_advantage() -> None:
    made = case("box")
    scaled = made.rollout.replace(
        **{
            name: 8 * getattr(made.rollout, name)
            for name in ("reward", "value", "next_value")
        }
    )
    one, eight = (
        policy_of(update("box", "npg", rollout, **PLAIN)[0])
        for rollout in (made.rollout, scaled)
    )
    for mine, theirs in zip(one, eight, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize("wrong", ["nothing", "infinite", "overflow"])
def test_unusable_step_keeps_the_policy_bit_for_bit(wrong: str) -> None:
    made = case("box")
    rollout, params = made.rollout, made.params
    if wrong == "nothing":
        rollout = made.without_advantage()
    elif wrong == "infinite":
        rollout = rollout.replace(reward=rollout.reward.at[3, 1].set(jnp.inf))
    else:  # σ = e⁻⁶⁰: 1/σ² overflows in the Fisher matrix
        params = params | {"log_std": params["log_std"] - 60}
    learner, metrics = update("box", "npg", rollout, params=params, **PLAIN)
    for name, mine in zip(POLICY_PARTS, policy_of(learner), strict=True):
        assert mine.tobytes() == np.asarray(params[name]).tobytes()
    assert metrics["improvement"] == 0
    for leaf in jax.tree.leaves(learner):
        assert np.isfinite(leaf).all()
