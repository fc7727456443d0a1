"""What holds for every algorithm in the registry: a new one is tested by existing."""

from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple, get_args, get_type_hints

import jax
import numpy as np
import pytest
from support.collected import LIMIT, NUM_ENVS, NUM_STEPS, collected
from support.toys import (
    DISCRETE,
    FLAT,
    PARTS,
    TWO_KEYS,
    gated_policy,
    linear_policy,
    quick_jit,
    run_config,
    walk,
)

from pgcli.algos import ALGORITHMS
from pgcli.algos.base import as_leaves
from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.schema import NormalizeConfig, RunConfig
from pgcli.envs.base import DeviceEnv
from pgcli.nn.policy import Policy
from pgcli.rollout.types import Transitions
from pgcli.training.loops.base import from_words, to_words
from pgcli.training.step import Knobs, init_run, learn, make_knobs, make_setup
from pgcli.training.step import init_agent as new_agent

CASES = ("parts", "dict-recurrent")
every_algorithm = pytest.mark.parametrize("algo", sorted(ALGORITHMS))
FEW = ("reinforce", "trpo", "ppo2")
"""Algorithms whose recurrent case is quick enough, one of each family."""
MOST = ("dict-recurrent", False)


class World(NamedTuple):
    env: DeviceEnv
    policy: Policy


@cache
def world(name: str) -> World:
    if name == "parts":
        env = walk(PARTS, FLAT, LIMIT)
        return World(env, linear_policy(env.spec))
    env = walk(DISCRETE, TWO_KEYS, LIMIT)
    return World(env, gated_policy(env.spec))


def config_of(algo: str) -> RunConfig:
    """Two passes of two minibatches, where the algorithm has such."""
    fields = ALGORITHM_CONFIGS[algo].__dataclass_fields__
    small = {"num_epochs": 2, "num_minibatches": 2, "cg_iterations": 3}
    config = run_config(
        algo,
        num_envs=NUM_ENVS,
        num_steps=NUM_STEPS,
        normalize=NormalizeConfig(True, True),
        **{key: value for key, value in small.items() if key in fields},
    )
    return replace(config, algo=config.algo.derived())


@cache
def transitions(name: str, collects: str, host: bool) -> Transitions:
    """One collection under a fresh agent, of either kind and on either side."""
    env, policy = world(name)
    setup = make_setup(config_of("ppo2"), env.spec, policy)
    agent = quick_jit(partial(new_agent, setup))(jax.random.key(0))
    return collected(env, policy, agent, collects, host)


class Learned(NamedTuple):
    before: Any
    after: Any
    report: Any


@cache
def program(algo: str, name: str) -> Any:
    """A run's beginning and its first update, compiled as one."""
    env, policy = world(name)
    setup = make_setup(config_of(algo), env.spec, policy)

    @quick_jit
    def run(knobs: Knobs, seen: Transitions, budget: jax.Array) -> Learned:
        before = init_run(setup, knobs, jax.random.key(0))
        key = jax.random.key(2)
        return Learned(before, *learn(setup, knobs, before, seen, budget, key))

    return run


def learned(algo: str, name: str, host: bool, knobs: Knobs | None = None) -> Learned:
    seen = transitions(name, ALGORITHM_CONFIGS[algo].collects, host)
    run = program(algo, name)
    result: Learned = run(knobs or make_knobs(config_of(algo)), seen, to_words(1000))
    return result


@pytest.mark.parametrize("host", [False, True], ids=["device", "host"])
@pytest.mark.parametrize(
    ("algo", "name"),
    [
        pytest.param(algo, name, marks=pytest.mark.slow if (name, few) == MOST else ())
        for algo in sorted(ALGORITHMS)
        for name in CASES
        for few in [algo in FEW]
    ],
)
def test_every_algorithm_updates_once_and_stays_finite(
    algo: str, name: str, host: bool
) -> None:
    before, after, report = learned(algo, name, host)
    assert report.fault[0] == -1
    assert report.finite_params
    for leaf in jax.tree.leaves((after, report.metrics)):
        assert leaf.dtype != np.float32 or np.isfinite(leaf).all()
    assert report.metrics["skipped"] == 0
    old, new = before.learner.agent.params, after.learner.agent.params
    moved = jax.tree.map(lambda x, y: bool(np.any(x != y)), old, new)
    assert moved["head"]
    if ALGORITHM_CONFIGS[algo].collects == "steps":
        assert moved["value"]
    assert jax.tree.structure(before) == jax.tree.structure(after)
    seen = transitions(name, ALGORITHM_CONFIGS[algo].collects, host)
    assert from_words(after.steps) == seen.weight.sum()


@every_algorithm
def test_every_algorithm_reports_the_common_metrics(algo: str) -> None:
    metrics = learned(algo, "parts", host=False).report.metrics
    common = {"policy_loss", "entropy", "grad_norm", "kl", "ratio_max", "ess", "lr"}
    common |= {"return_mean", "length_mean", "skipped"}
    if ALGORITHM_CONFIGS[algo].collects == "steps":
        common |= {"value_loss", "explained_variance"}
    assert common <= set(metrics)
    assert set(ALGORITHM_CONFIGS[algo].metrics) <= set(metrics)
    assert all(np.shape(value) == () for value in metrics.values())


def floats_of(algo: str) -> list[str]:
    """The hyperparameters typed float, or float | None."""
    hints = get_type_hints(ALGORITHM_CONFIGS[algo])
    named = ALGORITHM_CONFIGS[algo].__dataclass_fields__
    return [k for k in named if hints[k] is float or float in get_args(hints[k])]


@every_algorithm
def test_every_algorithm_takes_other_numbers_without_compiling_again(
    algo: str,
) -> None:
    learned(algo, "parts", host=False)
    run = program(algo, "parts")
    assert run._cache_size() > 0
    compiled = run._cache_size()
    knobs = make_knobs(config_of(algo))
    hyper = knobs.hyper
    for key in floats_of(algo):
        if getattr(hyper.algo, key) is not None:
            other = np.float32(0.9) * getattr(hyper.algo, key)
            hyper = hyper.replace(algo=replace(hyper.algo, **{key: other}))
    hyper = hyper.replace(optimizer=replace(hyper.optimizer, lr=np.float32(0.1)))
    learned(algo, "parts", host=False, knobs=knobs._replace(hyper=hyper))
    assert run._cache_size() == compiled


@every_algorithm
def test_every_hyperparameter_typed_float_is_a_leaf(algo: str) -> None:
    config = as_leaves(ALGORITHM_CONFIGS[algo]())
    leaves = jax.tree.leaves(config)
    given = [getattr(config, key) for key in floats_of(algo)]
    assert len(leaves) == sum(value is not None for value in given)
    assert all(leaf.dtype == np.float32 for leaf in leaves)


def test_integers_in_float_fields_become_float32() -> None:
    config = as_leaves(ALGORITHM_CONFIGS["ppo2"](gamma=1))
    assert config.gamma.dtype == np.float32
