"""Proximal policy optimisation, clipped (Schulman et al., 2017, arXiv 1707.06347).

    J = mean[ min(r·Â, clip(r, 1 − ε, 1 + ε)·Â) ] − c_v·½ mean[(V − R̂)²] + c_e·mean[H]

with r = π_θ(a|s)/π_θ'(a|s), ascended for several epochs of shuffled minibatches.
Lecture §6, PPO2: no KL is computed, the clip holds θ near θ'.
"""

import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from pgcli.algos.base import Algorithm, Hyperparameters, LearnerState, Metrics
from pgcli.algos.credit import rollout_advantage, standardize, weighted_mean
from pgcli.algos.minibatch import Batch, make_batch, run_epochs
from pgcli.algos.optimizer import init_optimizer, scheduled
from pgcli.algos.surrogate import clipped_surrogate, update_diagnostics, value_loss
from pgcli.nn.policy import Agent, Params, Policy, unroll
from pgcli.rollout.complete import revalue
from pgcli.rollout.types import Rollout
from pgcli.shapes import Array


def ppo2(policy: Policy, shards: int) -> Algorithm:
    """PPO2 on a policy; `shards` is the number of rows that batches are kept in."""

    def init(hyper: Hyperparameters, agent: Agent) -> LearnerState:
        flat, _ = ravel_pytree(agent.params)
        return LearnerState(agent, init_optimizer(hyper.optimizer, flat), ())

    def update(
        hyper: Hyperparameters,
        learner: LearnerState,
        rollout: Rollout,
        progress: Array,
        key: Array,
    ) -> tuple[LearnerState, Metrics]:
        config = hyper.algo
        lr = scheduled(hyper.optimizer.lr, hyper.optimizer.schedule, progress)
        clip_eps = scheduled(config.clip_eps, config.clip_schedule, progress)
        entropy_coef = scheduled(config.entropy_coef, config.entropy_schedule, progress)

        def batch_of(rollout: Rollout) -> Batch:
            credit = rollout_advantage(rollout, config.gamma, config.gae_lambda)
            return make_batch(rollout, *credit, shards)

        def refresh(params: Params) -> Batch:
            return batch_of(revalue(policy, params, rollout))

        batch = batch_of(rollout)

        def loss(params: Params, batch: Batch) -> tuple[Array, Metrics]:
            seen = unroll(
                policy,
                params,
                batch.first_carry,
                batch.obs,
                batch.start,
                batch.action_mask,
            )
            advantage = batch.advantage
            if config.standardize_advantage:
                advantage = standardize(advantage, batch.weight)
            ratio = jnp.exp(seen.dist.log_prob(batch.action) - batch.logp)
            gain = clipped_surrogate(ratio, advantage, clip_eps)
            policy_loss = -weighted_mean(gain, batch.weight)
            critic = weighted_mean(
                value_loss(
                    seen.value, batch.value, batch.return_, config.value_clip_eps
                ),
                batch.weight,
            )
            entropy = weighted_mean(seen.dist.entropy(), batch.weight)
            total = policy_loss + config.value_coef * critic - entropy_coef * entropy
            metrics = {"policy_loss": policy_loss, "value_loss": critic}
            if config.kl_stop is not None:
                metrics["kl"] = weighted_mean(batch.dist.kl(seen.dist), batch.weight)
            return total, metrics

        params, opt_state, metrics = run_epochs(
            loss,
            hyper.optimizer,
            lr,
            learner.agent.params,
            learner.opt_state,
            batch,
            key,
            num_epochs=config.num_epochs,
            num_minibatches=config.num_minibatches,
            shards=shards,
            refresh=refresh if config.recompute_advantage else None,
            kl_stop=config.kl_stop,
        )
        agent = learner.agent.replace(params=params)
        metrics |= update_diagnostics(policy, params, batch, clip_eps) | {"lr": lr}
        return learner.replace(agent=agent, opt_state=opt_state), metrics

    return Algorithm(init, update, "steps")
