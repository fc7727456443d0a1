"""What the rungs with a learned baseline share: everything but their objective.

    J = mean[ gain ] − c_v·½ mean[(V − R̂)²] + c_e·mean[H(π_θ)]

An algorithm says what it gains per sample, and how often it passes over a rollout.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from pgcli.algos.advantage import rollout_advantage, weighted_mean
from pgcli.algos.base import Algorithm, Hyperparameters, LearnerState, Metrics
from pgcli.algos.minibatch import Batch, make_batch, run_epochs
from pgcli.algos.optimizer import init_optimizer, scheduled
from pgcli.algos.surrogate import update_diagnostics, value_loss
from pgcli.arrays.shapes import Array
from pgcli.nn.distributions import Distribution
from pgcli.nn.policy import Agent, Params, Policy, unroll
from pgcli.rollout.policy_outputs import revalue
from pgcli.rollout.types import Rollout


class Sample(NamedTuple):
    """What an objective sees of a minibatch; all but the distributions [*B]."""

    logp: Array  # log π_θ(a|s)
    ratio: Array  # π_θ(a|s)/π_θ'(a|s), θ' being the parameters that acted
    advantage: Array  # Â, standardised where the configuration asks for it
    dist: Distribution  # π_θ(·|s)
    old_dist: Distribution  # π_θ'(·|s)


class Passes(NamedTuple):
    """How an update goes over its rollout.

    Attributes:
      num_epochs: passes.
      num_minibatches: gradient steps per pass.
      entropy_coef: c_e of this update.
      value_clip_eps: clip range of V; None: off.
      kl_stop: exact KL of a minibatch beyond which the rest is frozen; None: off.
      recompute_advantage: credit anew from the current critic at every pass.
      clip_eps: ε of this update, for the diagnostics; None: nothing is clipped.
    """

    num_epochs: int
    num_minibatches: int
    entropy_coef: Array | float
    value_clip_eps: Array | float | None = None
    kl_stop: Array | float | None = None
    recompute_advantage: bool = False
    clip_eps: Any = None


Gain = Callable[[Any, Any, Sample, Passes], Array]
"""(config, memory, sample, passes) -> what each sample gains, [*B]."""

Remember = Callable[[Any, Any, Metrics], tuple[Any, Metrics]]
"""(config, memory, metrics of the update) -> (memory, metrics to add)."""


def actor_critic(
    policy: Policy,
    shards: int,
    gain: Gain,
    passes: Callable[[Any, Array], Passes],
    initial_memory: Callable[[Any], Any] = lambda config: (),
    remember: Remember = lambda config, memory, metrics: (memory, {}),
) -> Algorithm:
    """An algorithm from its objective.

    Args:
      policy: π_θ and V.
      shards: rows that batches are kept in.
      gain: the objective, per sample.
      passes: (config, progress) -> how an update goes over its rollout.
      initial_memory: config -> what the algorithm carries between updates.
      remember: changes that memory after an update.
    """

    def init(hyper: Hyperparameters, agent: Agent) -> LearnerState:
        flat, _ = ravel_pytree(agent.params)
        opt_state = init_optimizer(hyper.optimizer, flat)
        return LearnerState(agent, opt_state, initial_memory(hyper.algo))

    def update(
        hyper: Hyperparameters,
        learner: LearnerState,
        rollout: Rollout,
        progress: Array,
        key: Array,
    ) -> tuple[LearnerState, Metrics]:
        config, plan = hyper.algo, passes(hyper.algo, progress)
        lr = scheduled(hyper.optimizer.lr, hyper.optimizer.schedule, progress)

        def batch_of(rollout: Rollout) -> Batch:
            credit = rollout_advantage(rollout, config.gamma, config.gae_lambda)
            return make_batch(rollout, *credit, shards)

        def refresh(params: Params) -> Batch:
            # V may still go no further than ε from what it was when it acted
            fresh = batch_of(revalue(policy, params, rollout))
            return fresh._replace(value=batch.value)

        def loss(params: Params, batch: Batch) -> tuple[Array, Metrics]:
            sample, value = see(policy, params, batch)
            gained = gain(config, learner.memory, sample, plan)
            policy_loss = -weighted_mean(gained, batch.weight)
            errors = value_loss(value, batch.value, batch.return_, plan.value_clip_eps)
            critic = weighted_mean(errors, batch.weight)
            entropy = weighted_mean(sample.dist.entropy(), batch.weight)
            total = policy_loss + config.value_coef * critic
            metrics = {"policy_loss": policy_loss, "value_loss": critic}
            if plan.kl_stop is not None:
                kl = sample.old_dist.kl(sample.dist)
                metrics["kl"] = weighted_mean(kl, batch.weight)
            return total - plan.entropy_coef * entropy, metrics

        batch = batch_of(rollout)
        params, opt_state, metrics = run_epochs(
            loss,
            hyper.optimizer,
            lr,
            learner.agent.params,
            learner.opt_state,
            batch,
            key,
            num_epochs=plan.num_epochs,
            num_minibatches=plan.num_minibatches,
            shards=shards,
            standardize_advantage=config.standardize_advantage,
            refresh=refresh if plan.recompute_advantage else None,
            kl_stop=plan.kl_stop,
        )
        metrics |= update_diagnostics(policy, params, batch, plan.clip_eps)
        memory, more = remember(config, learner.memory, metrics)
        # where nothing is real nothing was learned, and there is nothing to remember
        real = jnp.sum(batch.weight) > 0
        memory = jax.tree.map(
            lambda new, old: jnp.where(real, new, old), memory, learner.memory
        )
        agent = learner.agent.replace(params=params)
        return LearnerState(agent, opt_state, memory), metrics | more | {"lr": lr}

    return Algorithm(init, update, "steps")


def see(policy: Policy, params: Params, batch: Batch) -> tuple[Sample, Array]:
    """(what the objective sees, V) of a batch under the parameters θ."""
    seen = unroll(
        policy, params, batch.first_carry, batch.obs, batch.start, batch.action_mask
    )
    logp = seen.dist.log_prob(batch.action)
    ratio = jnp.exp(logp - batch.logp)
    return Sample(logp, ratio, batch.advantage, seen.dist, batch.dist), seen.value
