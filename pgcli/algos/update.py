"""The update that all algorithms share.

From a rollout to advantages, to a batch, to gradient steps, to diagnostics and memory.
A family of algorithms (`reinforce`, `actor_critic`, `natural_gradient`) supplies the
functions in which it differs.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from pgcli.algos.advantage import standardize
from pgcli.algos.base import Algorithm, Hyperparameters, LearnerState, Metrics
from pgcli.algos.batch import Batch, make_batch
from pgcli.algos.epochs import Loss, run_epochs
from pgcli.algos.optimizer import init_optimizer, scheduled
from pgcli.algos.surrogate import diagnostics
from pgcli.arrays.shapes import Array
from pgcli.config.algorithms import Collects
from pgcli.nn.policy import Agent, Params, Policy
from pgcli.rollout.policy_outputs import revalue
from pgcli.rollout.types import Rollout, RolloutShape


class Schedules(NamedTuple):
    """Hyperparameters that may change with progress, in this update.

    Attributes:
      lr: learning rate.
      entropy_coef: weight c_e of the entropy bonus.
      clip_eps: clip range ε; None without clipping.
    """

    lr: Array
    entropy_coef: Array
    clip_eps: Any


Credit = Callable[[Any, Any, Rollout], tuple[Array, Array | None]]
"""(config, memory, rollout) -> (weight of each ∇log π, the critic's target), [T, N]."""

MakeLoss = Callable[[Any, Any, Rollout, Schedules], Loss]
"""(config, memory, rollout, schedules) -> the loss of the gradient steps."""

PolicyStep = Callable[[Any, Params, Batch], tuple[Params, Metrics]]
"""(config, params, batch) -> (params, metrics): a step that is no gradient step."""


class Memory(NamedTuple):
    """State of an algorithm between updates; by default, there is none.

    Attributes:
      init: (config, shape of the rollouts) -> memory before the first update.
      update: (config, memory, rollout, metrics of the update) -> (memory, further
        metrics).
    """

    init: Callable[[Any, RolloutShape], Any] = lambda config, shape: ()
    update: Callable[[Any, Any, Rollout, Metrics], tuple[Any, Metrics]] = (
        lambda config, memory, rollout, metrics: (memory, {})
    )


NO_MEMORY = Memory()


def make_algorithm(
    policy: Policy,
    collects: Collects,
    *,
    credit: Credit,
    make_loss: MakeLoss,
    policy_step: PolicyStep | None = None,
    standardize_over: Literal["batch", "minibatch"] = "batch",
    memory: Memory = NO_MEMORY,
) -> Algorithm:
    """An algorithm from the functions in which it differs.

    Args:
      policy: π_θ and V.
      collects: what it learns from.
      credit: advantages and return targets of a rollout.
      make_loss: the loss of the gradient steps.
      policy_step: taken before the gradient steps, on the whole batch.
      standardize_over: samples that share mean and deviation, if
        `standardize_advantage` is on.
      memory: its state between updates.
    """

    def init(hyper: Hyperparameters, agent: Agent, shape: RolloutShape) -> LearnerState:
        flat, _ = ravel_pytree(agent.params)
        opt_state = init_optimizer(hyper.optimizer, flat)
        return LearnerState(agent, opt_state, memory.init(hyper.algo, shape))

    def update(
        hyper: Hyperparameters,
        learner: LearnerState,
        rollout: Rollout,
        progress: Array,
        key: Array,
    ) -> tuple[LearnerState, Metrics]:
        config = hyper.algo
        schedules = _schedules(hyper, progress)
        standardizes = config.standardize_advantage

        # advantages [T, N] and targets, then everything in rows [S, B/S, …]
        def batch_of(rollout: Rollout) -> Batch:
            advantage, return_ = credit(config, learner.memory, rollout)
            if standardizes and standardize_over == "batch":
                advantage = standardize(advantage, rollout.weight)
            return make_batch(rollout, advantage, return_, hyper.shards)

        # the clip range of V stays around its value at collection
        def refresh(params: Params) -> Batch:
            fresh = batch_of(revalue(policy, params, rollout))
            return fresh.replace(value=batch.value)

        batch = batch_of(rollout)
        params = learner.agent.params
        metrics: Metrics = {}
        if policy_step is not None:
            params, metrics = policy_step(config, params, batch)
        params, opt_state, fitted = run_epochs(
            make_loss(config, learner.memory, rollout, schedules),
            hyper,
            schedules.lr,
            params,
            learner.opt_state,
            batch,
            key,
            standardize_advantage=standardizes and standardize_over == "minibatch",
            refresh=refresh if config.recompute_advantage else None,
        )

        # effect on the full batch, with the final parameters
        metrics = {**metrics, **fitted, "lr": schedules.lr}
        metrics |= diagnostics(policy, params, batch, schedules.clip_eps)

        # a rollout without real samples leaves no trace in the memory
        kept, more = memory.update(config, learner.memory, rollout, metrics)
        real = jnp.sum(batch.weight) > 0
        kept = jax.tree.map(
            lambda new, old: jnp.where(real, new, old), kept, learner.memory
        )
        agent = learner.agent.replace(params=params)
        return LearnerState(agent, opt_state, kept), metrics | more

    return Algorithm(init, update, collects)


def _schedules(hyper: Hyperparameters, progress: Array) -> Schedules:
    """The scheduled hyperparameters at `progress` in [0, 1]."""
    config, optimizer = hyper.algo, hyper.optimizer
    clip_eps = config.clip_eps
    if clip_eps is not None:
        clip_eps = scheduled(clip_eps, config.clip_schedule, progress)
    return Schedules(
        scheduled(optimizer.lr, optimizer.schedule, progress),
        scheduled(config.entropy_coef, config.entropy_schedule, progress),
        clip_eps,
    )
