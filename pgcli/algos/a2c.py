"""Advantage actor-critic (Mnih et al., 2016, arXiv 1602.01783, synchronous).

    J = mean[ log π_θ(a|s)·Â ] − c_v·½ mean[(V − R̂)²] + c_e·mean[H(π_θ)]

One full-batch ascent step per rollout. Lecture §5: the weight on ∇log π is an
advantage, with a state-dependent baseline V(s) that is learned.
"""

from jax.flatten_util import ravel_pytree

from pgcli.algos.base import Algorithm, Hyperparameters, LearnerState, Metrics
from pgcli.algos.credit import rollout_advantage, standardize, weighted_mean
from pgcli.algos.minibatch import Batch, make_batch, run_epochs
from pgcli.algos.optimizer import init_optimizer, scheduled
from pgcli.algos.surrogate import update_diagnostics, value_loss
from pgcli.nn.policy import Agent, Params, Policy, unroll
from pgcli.rollout.types import Rollout
from pgcli.shapes import Array


def a2c(policy: Policy, shards: int) -> Algorithm:
    """A2C on a policy; `shards` is the number of rows that batches are kept in."""

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
        advantage, return_ = rollout_advantage(rollout, config.gamma, config.gae_lambda)
        if config.standardize_advantage:
            advantage = standardize(advantage, rollout.weight)
        batch = make_batch(rollout, advantage, return_, shards)

        def loss(params: Params, batch: Batch) -> tuple[Array, Metrics]:
            seen = unroll(
                policy,
                params,
                batch.first_carry,
                batch.obs,
                batch.start,
                batch.action_mask,
            )
            logp = seen.dist.log_prob(batch.action)
            policy_loss = -weighted_mean(logp * batch.advantage, batch.weight)
            critic = weighted_mean(
                value_loss(seen.value, batch.value, batch.return_, None), batch.weight
            )
            entropy = weighted_mean(seen.dist.entropy(), batch.weight)
            total = (
                policy_loss + config.value_coef * critic - config.entropy_coef * entropy
            )
            return total, {"policy_loss": policy_loss, "value_loss": critic}

        params, opt_state, metrics = run_epochs(
            loss,
            hyper.optimizer,
            lr,
            learner.agent.params,
            learner.opt_state,
            batch,
            key,
            num_epochs=1,
            num_minibatches=1,
            shards=shards,
        )
        agent = learner.agent.replace(params=params)
        metrics |= update_diagnostics(policy, params, batch) | {"lr": lr}
        return learner.replace(agent=agent, opt_state=opt_state), metrics

    return Algorithm(init, update, "steps")
