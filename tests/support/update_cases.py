"""One update of any rung with a critic, on made-up rollouts of small policies."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.toys import (
    CONTINUOUS,
    DISCRETE,
    linear_policy,
    random_transitions,
    shape_of,
    spec_of,
)

from pgcli.algos import ALGORITHMS
from pgcli.algos.base import Hyperparameters, LearnerState, as_leaves
from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.schema import NetworkConfig, OptimizerConfig
from pgcli.nn.policy import Agent, Policy, make_policy
from pgcli.rollout.policy_outputs import complete
from pgcli.rollout.types import Rollout
from pgcli.training.loops.device_loop import RUN_ONCE

NUM_STEPS, NUM_ENVS = 8, 4
ACTIONS = {"discrete": DISCRETE, "box": CONTINUOUS}
every_action = pytest.mark.parametrize("action", sorted(ACTIONS))
RAW = {"standardize_advantage": False, "value_coef": 0.0}
FULL = {"num_epochs": 1, "num_minibatches": 1}
SEVERAL = {"num_epochs": 3, "num_minibatches": 4}
FREE = {"kl_min": 1e-30, "kl_max": 1e30}
"""Bounds that no KL of `ppo1` leaves: β stays what it is."""
SMALL_STEPS = OptimizerConfig(lr=0.03, max_grad_norm=None, beta1=0.0)
"""β₁ = 0 makes Adam's first moment the last gradient itself."""


class Case(NamedTuple):
    policy: Policy
    params: Any
    rollout: Rollout

    def without_advantage(self) -> Rollout:
        """The rollout with rewards and values of 0, and so Â = 0 at any γ and λ."""
        nothing = 0 * self.rollout.reward
        return self.rollout.replace(reward=nothing, value=nothing, next_value=nothing)


@cache
def policy_of(action: str, network: bool = False) -> Policy:
    spec = spec_of(ACTIONS[action])
    if network:
        return make_policy(spec, NetworkConfig(hidden=(3,)))
    return linear_policy(spec)


@cache
def maker(action: str, network: bool) -> Any:
    """(key, transitions) -> (params, rollout), compiled once for all seeds."""
    policy = policy_of(action, network)

    def run(key: jax.Array, made: Any) -> tuple[Any, Rollout]:
        # strongly typed, as parameters are after an update
        params = jax.tree.map(lambda x: x.astype(jnp.float32), policy.init(key))
        return params, complete(policy, Agent(params, None), made, made.reward)

    return jax.jit(run, compiler_options=RUN_ONCE)


@cache
def case(action: str, seed: int = 0, network: bool = False) -> Case:
    made = random_transitions(ACTIONS[action], seed, NUM_STEPS, NUM_ENVS)
    # one capacity for every seed, and so one program
    room = 24 - len(made.final_index)
    made = made.replace(
        final_obs=np.pad(made.final_obs, ((0, room), (0, 0))),
        final_index=np.pad(
            made.final_index, (0, room), constant_values=NUM_STEPS * NUM_ENVS
        ),
    )
    params, rollout = maker(action, network)(jax.random.key(seed), made)
    return Case(policy_of(action, network), params, rollout)


@cache
def algorithm_of(action: str, algo: str, network: bool = False) -> Any:
    return ALGORITHMS[algo](policy_of(action, network))


@cache
def program(action: str, algo: str, network: bool = False) -> Callable[..., Any]:
    """(hyper, learner, rollout) -> (learner, metrics), compiled once."""
    algorithm = algorithm_of(action, algo, network)

    def run(
        hyper: Hyperparameters, learner: LearnerState, rollout: Rollout
    ) -> tuple[LearnerState, dict[str, jax.Array]]:
        return algorithm.update(
            hyper, learner, rollout, jnp.float32(0), jax.random.key(7)
        )

    return jax.jit(run, compiler_options=RUN_ONCE)


def hyperparameters(
    algo: str, optimizer: OptimizerConfig = SMALL_STEPS, **hyper: Any
) -> Hyperparameters:
    config = as_leaves(ALGORITHM_CONFIGS[algo](**hyper))
    return Hyperparameters(config, as_leaves(optimizer), 2)


def begin(
    action: str, algo: str, params: Any, *, network: bool = False, **hyper: Any
) -> LearnerState:
    """A learner before its first update."""
    algorithm = algorithm_of(action, algo, network)
    shape = shape_of(case(action, network=network).rollout)
    return algorithm.init(hyperparameters(algo, **hyper), Agent(params, None), shape)


def update(
    action: str,
    algo: str,
    rollout: Rollout | None = None,
    *,
    params: Any = None,
    seed: int = 0,
    network: bool = False,
    **hyper: Any,
) -> tuple[LearnerState, dict[str, jax.Array]]:
    """One update, by default of the parameters that acted."""
    made = case(action, seed, network)
    params = made.params if params is None else params
    learner = begin(action, algo, params, network=network, **hyper)
    rollout = made.rollout if rollout is None else rollout
    run = program(action, algo, network)
    return run(hyperparameters(algo, **hyper), learner, rollout)


def ascent(learner: LearnerState) -> np.ndarray:
    """The gradient of the only step taken, of what is ascended."""
    assert learner.opt_state.count == 1
    return -np.asarray(learner.opt_state.mu)


def flat(params: Any) -> np.ndarray:
    return np.asarray(jax.flatten_util.ravel_pytree(params)[0])
