"""Every algorithm on every kind of action and distribution: one update each."""

import itertools
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.agents import ACTIONS
from support.toys import random_transitions, run_config, shape_of, spec_of

from pgcli.algos import ALGORITHMS
from pgcli.algos.batch import make_batch
from pgcli.algos.surrogate import evaluate
from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.schema import NetworkConfig
from pgcli.nn.policy import Agent, Policy, make_policy
from pgcli.rollout.policy_outputs import complete
from pgcli.training.loops.device_loop import RUN_ONCE
from pgcli.training.step import make_knobs

SQUASHED = {"distribution": "squashed_gaussian"}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in ACTIONS},
    "squashed": ("box", SQUASHED),
    "state": ("box", {"log_std": "state"}),
    "squashed parts": ("parts", {**SQUASHED, "log_std": "state"}),
}
QUICK = ("ppo2", "squashed parts")


@cache
def policy_of(kind: str) -> Policy:
    action, network = KINDS[kind]
    return make_policy(spec_of(ACTIONS[action]), NetworkConfig(hidden=(3,), **network))


@pytest.mark.parametrize(
    ("algo", "kind"),
    [
        pytest.param(*case, marks=() if case == QUICK else pytest.mark.slow)
        for case in itertools.product(sorted(ALGORITHMS), KINDS)
    ],
)
def test_update_is_finite_and_begins_at_a_ratio_of_one(algo: str, kind: str) -> None:
    policy, (action, _) = policy_of(kind), KINDS[kind]
    fields = ALGORITHM_CONFIGS[algo].__dataclass_fields__
    small = {"num_epochs": 2, "num_minibatches": 2, "cg_iterations": 3}
    given = {key: x for key, x in small.items() if key in fields}
    config = run_config(algo, **given)
    hyper = make_knobs(replace(config, algo=config.algo.derived())).hyper
    algorithm = ALGORITHMS[algo](policy)

    def run(hyper: Any, made: Any) -> Any:
        params = policy.init(jax.random.key(0))
        rollout = complete(policy, Agent(params, None), made, made.reward)
        batch = make_batch(rollout, rollout.reward, rollout.reward, 2)
        now = evaluate(policy, params, batch)
        learner = algorithm.init(hyper, Agent(params, None), shape_of(rollout))
        key = jax.random.key(1)
        after, metrics = algorithm.update(hyper, learner, rollout, jnp.float32(0), key)
        return now.ratio, now.old_dist.kl(now.dist), params, after, metrics

    made = random_transitions(ACTIONS[action], 0, 8, 4)
    program = jax.jit(run, compiler_options=RUN_ONCE)
    ratio, kl, before, after, metrics = program(hyper, made)
    np.testing.assert_allclose(ratio, 1, atol=1e-5)  # float32, fused in another order
    np.testing.assert_allclose(kl, 0, atol=1e-6)
    for leaf in jax.tree.leaves((after, metrics)):
        assert leaf.dtype != np.float32 or np.isfinite(leaf).all()
    assert metrics["skipped"] == 0
    moved = jax.tree.map(lambda x, y: bool((x != y).any()), before, after.agent.params)
    assert moved["policy_head"]["kernel"]
    assert moved.get("log_std", True)
