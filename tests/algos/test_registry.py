"""The registry, and the exact metrics of each algorithm; nothing is compiled."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from support.update_cases import ACTIONS, begin, case, hyperparameters, policy_of

from pgcli.algos import ALGORITHMS
from pgcli.config.algorithms import ALGORITHM_ALIASES, ALGORITHM_CONFIGS

EVERYWHERE = {"policy_loss", "entropy", "grad_norm", "kl", "ratio_max", "ess"}
EVERYWHERE |= {"lr", "skipped"}
CRITIC = {"value_loss", "explained_variance"}


def test_registry_configurations_and_aliases_agree() -> None:
    assert ALGORITHMS.keys() == ALGORITHM_CONFIGS.keys()
    assert set(ALGORITHM_ALIASES.values()) <= set(ALGORITHMS)
    for name, make in ALGORITHMS.items():
        config = ALGORITHM_CONFIGS[name]
        assert config().name == name
        assert make(policy_of("discrete")).collects == config.collects


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("algo", ALGORITHMS)
def test_metrics_are_those_that_the_rung_promises(algo: str, action: str) -> None:
    made = case(action)
    config = ALGORITHM_CONFIGS[algo]().derived()
    options = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    learner = begin(action, algo, made.params, **options)
    algorithm = ALGORITHMS[algo](made.policy)
    after, metrics = jax.eval_shape(
        algorithm.update,
        hyperparameters(algo, **options),
        learner,
        made.rollout,
        jnp.float32(0),
        jax.random.key(0),
    )
    critic = CRITIC if config.collects == "steps" else set()
    assert metrics.keys() == EVERYWHERE | critic | {*config.metrics}
    assert all(x.shape == () for x in metrics.values())
    shapes = jax.eval_shape(lambda: learner)
    assert jax.tree.map(lambda x, y: x.shape == y.shape, after, shapes)
    assert jax.tree.structure(after) == jax.tree.structure(shapes)
