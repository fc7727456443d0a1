"""Where one rung becomes another: the same gradient, or the same parameters.

That the gradient of `trpo` is that of `a2c` shows in its whole step, in `test_trpo`.
"""

import numpy as np
import pytest
from support.update_cases import (
    FREE,
    FULL,
    RAW,
    SEVERAL,
    ascent,
    every_action,
    flat,
    update,
)

AT_THE_START = [
    ("is-pg", {}),
    ("ppo1", {**FREE, "beta_init": 0.0}),
    ("ppo1", {**FREE, "beta_init": 50.0}),
    ("ppo2", {}),
]


@every_action
@pytest.mark.parametrize(("algo", "hyper"), AT_THE_START)
def test_gradient_at_the_acting_parameters_is_that_of_a2c(
    action: str, algo: str, hyper: dict
) -> None:
    a2c = ascent(update(action, "a2c", **RAW)[0])
    found = ascent(update(action, algo, **RAW, **FULL, **hyper)[0])
    # ∇r = r·∇log π with r = 1, and the KL is at its minimum; float32, numbers near 1
    np.testing.assert_allclose(found, a2c, atol=2e-6)
    assert np.linalg.norm(a2c) > 0.1


@pytest.mark.parametrize(
    ("algo", "hyper"),
    [
        ("ppo2", {"clip_eps": 1e9}),
        ("ppo1", {**FREE, "beta_init": 0.0, "beta_factor": 1.0}),
    ],
)
def test_wide_clip_and_no_penalty_are_is_pg(algo: str, hyper: dict) -> None:
    # value loss and standardisation included: the policy term alone is replaced
    plain, _ = update("discrete", "is-pg", **SEVERAL)
    found, metrics = update("discrete", algo, **SEVERAL, **hyper)
    assert plain.opt_state.count == 12
    assert metrics["ratio_max"] > 1.05  # θ has left θ'
    np.testing.assert_allclose(
        flat(found.agent.params), flat(plain.agent.params), atol=1e-6
    )


@pytest.mark.parametrize(
    ("algo", "hyper"),
    [("ppo2", {"clip_eps": 0.02}), ("ppo1", {**FREE, "beta_init": 10.0})],
)
def test_clip_and_penalty_hold_the_policy_near_where_is_pg_does_not(
    algo: str, hyper: dict
) -> None:
    plain, held = (
        update("discrete", name, **SEVERAL, **extra)[1]
        for name, extra in (("is-pg", {}), (algo, hyper))
    )
    assert held["kl"] < 0.5 * plain["kl"]
    assert held["ess"] > plain["ess"]
