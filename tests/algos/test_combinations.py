"""Every algorithm with every action, observation, memory and mask, on both sides.

The full product has 9 algorithms × 13 kinds of action with and without masks × 6 kinds
of observation × 3 kinds of memory × 2 sides = 4,212 combinations. What is crossed:

- algorithms × actions × masks × memory × sides, each with an observation that has a
  part of every kind (`everything`);
- algorithms × observations of one kind × memory × sides, with masked choices.

The other combinations follow. An algorithm sees an observation only as leaves of a
rollout, whose rows it selects, and through the policy, where the features of all parts
meet in one array before memory and heads. The leaves of `everything` have every dtype
and rank, and its features come from every encoder, so a single kind adds nothing to a
kind of action but fewer leaves. GRU and LSTM differ in the number of arrays of their
state: the first product has the GRU (one array), the second has the LSTM (a pair).
"""

import itertools
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.agents import ACTIONS, SPACES, agent_of
from support.collected import LIMIT, collected
from support.toys import quick_jit, run_config, shape_of

from pgcli.algos import ALGORITHMS
from pgcli.algos.batch import make_batch
from pgcli.algos.surrogate import evaluate
from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.schema import NetworkConfig
from pgcli.envs.base import (
    ActionMask,
    Box,
    DeviceEnv,
    Discrete,
    EnvSpec,
    MultiBinary,
    Step,
    component_sizes,
)
from pgcli.nn.policy import Agent, Policy, make_policy
from pgcli.rollout.policy_outputs import complete
from pgcli.rollout.types import Transitions
from pgcli.training.step import make_knobs

SQUASHED = {"distribution": "squashed_gaussian"}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in ACTIONS},
    "squashed": ("box", SQUASHED),
    "state": ("box", {"log_std": "state"}),
    "squashed parts": ("parts", {**SQUASHED, "log_std": "state"}),
}
PICTURE = Box((3, 4, 2), "uint8", 0.0, 255.0)
SINGLE = {key: x for key, x in SPACES.items() if key not in ("image", "dict")}
OBSERVATIONS: dict[str, Any] = {
    **SINGLE,
    "picture": PICTURE,
    "everything": {**SINGLE, "picture": PICTURE},
}


class Case(NamedTuple):
    obs: str
    action: str
    masked: bool
    memory: str | None


def cases() -> list[Any]:
    """(algorithm, case), those of a case together, since they share transitions."""
    actions = [(kind, False) for kind in KINDS]
    actions += [(kind, True) for kind in KINDS if component_sizes(action_of(kind))]
    first = [
        Case("everything", *action, memory)
        for memory, action in itertools.product((None, "gru"), actions)
    ]
    second = [
        Case(obs, "choices", True, memory)
        for obs, memory in itertools.product(OBSERVATIONS, (None, "lstm"))
        if obs != "everything" or memory
    ]
    quick = Case("box", "squashed parts", False, None)
    return [
        pytest.param(
            *(algo, case),
            id="-".join(map(str, (algo, *case))),
            marks=() if (algo, case) == ("ppo2", quick) else pytest.mark.slow,
        )
        for case, algo in itertools.product(
            [*first, *second, quick], sorted(ALGORITHMS)
        )
    ]


def action_of(kind: str) -> Any:
    return ACTIONS[KINDS[kind][0]]


def shown(space: Any, t: Any) -> Any:
    """An observation that goes through the values of its space with the time."""
    if isinstance(space, dict):
        return {key: shown(part, t) for key, part in space.items()}
    if isinstance(space, Discrete):
        return space.start + t % space.n
    at = t + jnp.arange(np.prod(space.shape, dtype=int)).reshape(space.shape)
    if isinstance(space, ActionMask):  # one of three is invalid, never both of two
        return (at % 3 != 0).astype(space.dtype)
    if isinstance(space, MultiBinary):
        return (at % 2).astype(space.dtype)
    if isinstance(space, Box):
        values = 37 * at % 256 if space.dtype == "uint8" else jnp.cos(at)
        return values.astype(space.dtype)
    nvec, start = (np.reshape(x, space.shape) for x in (space.nvec, space.start))
    return start + at % nvec


def cycle(case: Case) -> DeviceEnv:
    """Episodes of 3 steps that terminate, or of 5 that are cut."""
    obs, action = OBSERVATIONS[case.obs], action_of(case.action)
    if case.masked:
        sizes = component_sizes(action)
        parts = obs if isinstance(obs, dict) else {"observation": obs}
        obs = {**parts, "mask": ActionMask((sum(sizes),), sizes)}

    def reset(key: Any) -> tuple[Any, Any]:
        first = jax.random.randint(key, (), 0, 60)
        return (first, jnp.int32(0)), shown(obs, first)

    def step(key: Any, state: Any, action: Any) -> tuple[Any, Step]:
        first, elapsed = state[0], state[1] + 1
        t = first + elapsed
        ends = (first % 2 == 0) & (elapsed == 3)
        return (first, elapsed), Step(shown(obs, t), jnp.cos(t), ends, elapsed >= LIMIT)

    return DeviceEnv(EnvSpec("toy:cycle", obs, action, LIMIT), reset, step)


class World(NamedTuple):
    env: DeviceEnv
    policy: Policy
    agent: Agent


@lru_cache(2)
def world(case: Case) -> World:
    image = case.obs in ("picture", "everything")
    network = NetworkConfig(
        "grid_cnn" if image else "mlp",
        (3,),
        memory=case.memory,
        memory_size=2,
        **KINDS[case.action][1],
    )
    env = cycle(case)
    agent = agent_of(env.spec, network, normalized=False)
    return World(env, make_policy(env.spec, network), agent)


@lru_cache(8)
def transitions(case: Case, collects: str, host: bool) -> Transitions:
    return collected(*world(case), collects, host)


@pytest.mark.parametrize(("algo", "case"), cases())
def test_update_is_finite_and_begins_at_a_ratio_of_one(algo: str, case: Case) -> None:
    _, policy, agent = world(case)
    fields = ALGORITHM_CONFIGS[algo].__dataclass_fields__
    small = {"num_epochs": 2, "num_minibatches": 2, "cg_iterations": 3}
    config = run_config(algo, **{key: x for key, x in small.items() if key in fields})
    hyper = make_knobs(replace(config, algo=config.algo.derived())).hyper
    algorithm = ALGORITHMS[algo](policy)

    @quick_jit
    def run(hyper: Any, agent: Agent, seen: Transitions) -> Any:
        rollout = complete(policy, agent, seen, seen.reward)
        batch = make_batch(rollout, rollout.reward, rollout.reward, 2)
        now = evaluate(policy, agent.params, batch)
        learner = algorithm.init(hyper, agent, shape_of(rollout))
        key = jax.random.key(1)
        after, metrics = algorithm.update(hyper, learner, rollout, jnp.float32(0), key)
        rows = batch.weight > 0
        ratio, kl = jnp.where(rows, now.ratio, 1), now.old_dist.kl(now.dist)
        return ratio, jnp.where(rows, kl, 0), now.logp, after, metrics

    for host in (False, True):
        seen = transitions(case, ALGORITHM_CONFIGS[algo].collects, host)
        ratio, kl, logp, after, metrics = run(hyper, agent, seen)
        # float32, fused in another order
        np.testing.assert_allclose(ratio, 1, atol=1e-5)
        np.testing.assert_allclose(kl, 0, atol=1e-6)
        assert logp.min() > -1e4  # no invalid action was taken
        for leaf in jax.tree.leaves((after, metrics)):
            assert leaf.dtype != np.float32 or np.isfinite(leaf).all()
        assert metrics["skipped"] == 0
        moved = jax.tree.map(
            lambda x, y: bool((x != y).any()), agent.params, after.agent.params
        )
        assert moved["policy_head"]["kernel"]
        assert moved.get("log_std", True)
