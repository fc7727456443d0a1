"""The registry, and the exact keys that each rung reports; nothing is compiled."""

import jax
import jax.numpy as jnp
import pytest
from support.update_cases import ACTIONS, begin, case, hyperparameters, policy_of

from pgcli.algos import ALGORITHMS
from pgcli.config.algorithms import ALGORITHM_ALIASES, ALGORITHM_CONFIGS

EVERYWHERE = {"policy_loss", "entropy", "grad_norm", "kl", "ratio_max", "ess"}
EVERYWHERE |= {"lr", "skipped"}
CRITIC = {"value_loss", "explained_variance"}
TRUST = {"step_fraction", "cg_residual", "predicted_improvement", "improvement"}
METRICS = {
    "reinforce": EVERYWHERE,
    "reinforce-baseline": EVERYWHERE,
    "reward-to-go": EVERYWHERE,
    "a2c": EVERYWHERE | CRITIC,
    "is-pg": EVERYWHERE | CRITIC,
    "trpo": EVERYWHERE | CRITIC | TRUST,
    "ppo1": EVERYWHERE | CRITIC | {"beta"},
    "ppo2": EVERYWHERE | CRITIC | {"clip_fraction"},
}


def test_registry_configurations_and_aliases_agree() -> None:
    assert ALGORITHMS.keys() == ALGORITHM_CONFIGS.keys() == METRICS.keys()
    assert set(ALGORITHM_ALIASES.values()) <= set(ALGORITHMS)
    for name, make in ALGORITHMS.items():
        config = ALGORITHM_CONFIGS[name]
        assert config().name == name
        assert make(policy_of("discrete"), 1).collects == config.collects


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("algo", ALGORITHMS)
def test_metrics_are_those_that_the_rung_promises(algo: str, action: str) -> None:
    made = case(action)
    options = {"kl_target": 0.01} if algo == "ppo1" else {}
    learner = begin(action, algo, made.params, **options)
    algorithm = ALGORITHMS[algo](made.policy, 1)
    after, metrics = jax.eval_shape(
        algorithm.update,
        hyperparameters(algo, **options),
        learner,
        made.rollout,
        jnp.float32(0),
        jax.random.key(0),
    )
    assert metrics.keys() == METRICS[algo]
    assert all(x.shape == () for x in metrics.values())
    shapes = jax.eval_shape(lambda: learner)
    assert jax.tree.map(lambda x, y: x.shape == y.shape, after, shapes)
    assert jax.tree.structure(after) == jax.tree.structure(shapes)
