"""The penalty of `ppo1`: which KL, which way round, and how β follows it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.small_runs import config
from support.update_cases import (
    FREE,
    FULL,
    RAW,
    SEVERAL,
    ascent,
    begin,
    case,
    flat,
    hyperparameters,
    program,
    update,
)

from pgcli.algos.base import as_leaves
from pgcli.algos.ppo1 import adapt
from pgcli.config.algorithms import PPO1Config
from pgcli.envs.make import make_device_env
from pgcli.nn.distributions import Categorical
from pgcli.training.loops.device_loop import DeviceLoop

TARGET = {"kl_target": 0.01}
adapted = jax.jit(adapt)


def follow(kls: list[float], beta: float, **hyper: float) -> list[float]:
    """β after each of these KLs."""
    config = as_leaves(PPO1Config(**hyper))
    seen = []
    for kl in kls:
        beta = adapted(config, np.float32(beta), np.float32(kl))
        seen.append(float(beta))
    return seen


def test_beta_follows_the_paper_around_a_target() -> None:
    # d = .01: doubled above .015, halved below .00667, kept in between
    kls = [0.02, 0.016, 0.014, 0.01, 0.007, 0.006, 0.0, 0.5]
    assert follow(kls, 1.0, **TARGET) == [2, 4, 4, 4, 4, 2, 1, 2]


def test_beta_follows_the_lecture_between_two_bounds() -> None:
    kls = [0.05, 0.03, 0.02, 0.01, 0.005, 0.5]
    bounds = {"kl_min": 0.01, "kl_max": 0.03}
    found = follow(kls, 1.0, **bounds)  # .03 and .01 are neither above nor below
    assert found == [2, 2, 2, 2, 1, 2]


def test_beta_moves_by_its_factor() -> None:
    found = follow([1.0, 0.0, 0.0], 1.0, beta_factor=1.5, **TARGET)
    np.testing.assert_allclose(found, [1.5, 1, 2 / 3], rtol=1e-6)


def test_beta_stays_within_its_bounds() -> None:
    assert follow([1.0] * 3, 4e3, **TARGET) == [8e3, 1e4, 1e4]
    found = follow([0.0] * 3, 3e-4, **TARGET)
    np.testing.assert_allclose(found, [1.5e-4, 1e-4, 1e-4], rtol=1e-6)


@pytest.mark.parametrize("beta", [0.0, 1e-6, 0.7, 1e6])
def test_beta_factor_one_fixes_any_beta(beta: float) -> None:
    kept = float(np.float32(beta))
    assert follow([0.0, 0.01, 9.0], beta, beta_factor=1.0, **TARGET) == [kept] * 3


def test_beta_is_not_moved_by_a_kl_that_is_not_finite() -> None:
    assert follow([np.nan], 3.0, **TARGET) == [3]


def test_beta_changes_once_per_update_by_the_kl_of_the_whole_batch() -> None:
    # β of this update is 1 in every case, so its KL is the same; only what follows
    # from it differs. Twelve steps, and one change.
    learner, metrics = update("discrete", "ppo1", **SEVERAL, **FREE)
    made = case("discrete")
    _, dist, _ = made.policy.apply(
        learner.agent.params, (), made.rollout.obs, made.rollout.start
    )
    kl = float(np.mean(made.rollout.dist.kl(dist)))
    np.testing.assert_allclose(metrics["kl"], kl, rtol=1e-3)
    assert learner.opt_state.count == 12
    for low, high, beta in (
        (0.5 * kl, 0.99 * kl, 2.0),
        (0.99 * kl, 1.01 * kl, 1.0),
        (1.01 * kl, 2 * kl, 0.5),
    ):
        found, seen = update("discrete", "ppo1", kl_min=low, kl_max=high, **SEVERAL)
        assert found.memory == beta
        assert seen["beta"] == 1  # the one that this update was made with
        np.testing.assert_array_equal(
            flat(found.agent.params), flat(learner.agent.params)
        )


def test_new_beta_needs_no_new_program() -> None:
    made, run = case("discrete"), program("discrete", "ppo1")
    hyper = hyperparameters("ppo1", **FREE, **SEVERAL)
    learner = begin("discrete", "ppo1", made.params, **FREE, **SEVERAL)
    kls = [run(hyper, learner, made.rollout)[1]["kl"]]
    before = run._cache_size()
    for beta in (4.0, 64.0):
        given = learner.replace(memory=jnp.float32(beta))
        kls.append(run(hyper, given, made.rollout)[1]["kl"])
    assert run._cache_size() == before
    assert kls[2] < kls[1] < kls[0]  # and it is used


def test_beta_stays_where_no_sample_is_real() -> None:
    made = case("discrete")
    nothing = made.rollout.replace(weight=jnp.zeros_like(made.rollout.weight))
    bounds = {"kl_min": 0.01, "kl_max": 0.1}  # below which a KL of 0 would be
    learner, _ = update("discrete", "ppo1", nothing, **FULL, **RAW, **bounds)
    assert learner.memory == 1
    np.testing.assert_array_equal(flat(learner.agent.params), flat(made.params))


def test_beta_survives_a_snapshot() -> None:
    cfg = config("func:CartPole-v1", algo="ppo1")
    loop = DeviceLoop(cfg, make_device_env(cfg.env))
    stored = loop.snapshot()
    beta = ".learner.memory"
    assert stored["run"][beta] == 1
    stored["run"][beta] = np.float32(0.125)
    assert loop.restore(stored, "here") == "exact"
    assert loop.snapshot()["run"][beta] == 0.125


def test_penalty_is_the_kl_from_the_acting_policy_by_hand() -> None:
    # KL(½,½ ‖ .9,.1) = ½ log(.5/.9) + ½ log(.5/.1) = .5108;
    # the other way round .9 log(.9/.5) + .1 log(.1/.5) = .3681
    even, sharp = (
        Categorical(jnp.log(jnp.float32(p))) for p in ([0.5, 0.5], [0.9, 0.1])
    )
    np.testing.assert_allclose(even.kl(sharp), 0.5108, atol=1e-4)
    np.testing.assert_allclose(sharp.kl(even), 0.3681, atol=1e-4)
    made = case("discrete")
    shape = made.rollout.dist.logits.shape
    acted = made.rollout.dist.replace(logits=jnp.broadcast_to(even.logits, shape))
    # V and Â are 0: what remains of the objective is −β·KL. One observation for all,
    # and a head that gives log .9 and log .1 there.
    obs = jnp.zeros_like(made.rollout.obs).at[..., 0].set(1)
    head = jnp.stack([sharp.logits, jnp.zeros(2)])
    rollout = made.without_advantage().replace(obs=obs, dist=acted)
    params = made.params | {"head": head}
    learner, metrics = update(
        "discrete", "ppo1", rollout, params=params, beta_init=3.0, **RAW, **FULL, **FREE
    )
    np.testing.assert_allclose(metrics["policy_loss"], 3 * 0.5108, atol=3e-4)
    # ∂KL/∂logit = π − π_old = ±.4, which is descended with weight β = 3
    gradient = gradient_of(params, learner)["head"]
    np.testing.assert_allclose(gradient, [[-1.2, 1.2], [0, 0]], atol=1e-5)


def gradient_of(params: Any, learner: Any) -> Any:
    _, unravel = jax.flatten_util.ravel_pytree(params)
    return unravel(jnp.asarray(ascent(learner)))


def test_gaussian_penalty_is_the_kl_from_the_acting_policy_by_hand() -> None:
    made = case("box")
    params = made.params | {"log_std": made.params["log_std"] + 0.4}
    params = params | {"head": params["head"] + 0.5}
    rollout = made.without_advantage()
    learner, _ = update(
        "box", "ppo1", rollout, params=params, beta_init=2.0, **RAW, **FULL, **FREE
    )
    obs = np.asarray(rollout.obs, np.float64).reshape(-1, 2)
    old_mean = np.asarray(rollout.dist.mean, np.float64).reshape(-1, 1)
    old_std, std = np.exp(-0.2), np.exp(0.2)
    away = obs @ np.asarray(params["head"], np.float64) - old_mean
    # ∂KL(old‖new)/∂μ = (μ − μ_old)/σ²; ∂/∂log σ = 1 − (σ_old² + (μ − μ_old)²)/σ²
    by_mean = obs.T @ (away / std**2) / len(obs)
    by_log_std = np.mean(1 - (old_std**2 + away**2) / std**2, axis=0)
    found = gradient_of(params, learner)
    np.testing.assert_allclose(found["head"], -2 * by_mean, atol=1e-5)
    np.testing.assert_allclose(found["log_std"], -2 * by_log_std, atol=1e-5)
