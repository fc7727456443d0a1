"""The update of one iteration, for both loops: from transitions to a new state."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pgcli.algos import ALGORITHMS
from pgcli.algos.base import Algorithm, Hyperparameters, as_leaves
from pgcli.arrays import exact_count, random_keys
from pgcli.arrays.shapes import Array, Key
from pgcli.arrays.shared import shared
from pgcli.config.schema import NormalizeConfig, RunConfig
from pgcli.envs.base import EnvSpec
from pgcli.errors import UsageError
from pgcli.nn.encoders import not_normalized
from pgcli.nn.normalize import (
    init_obs_stats,
    init_reward_scaler,
    scale_reward,
    update_obs_stats,
    update_reward_scaler,
)
from pgcli.nn.own_networks import own_names
from pgcli.nn.policy import Agent, Policy, make_policy
from pgcli.rollout.policy_outputs import complete
from pgcli.rollout.types import RolloutShape, Transitions
from pgcli.training.rollout_faults import all_finite, first_fault
from pgcli.training.state import RunState, init_tally, recent_means, update_tally


class Setup(NamedTuple):
    """The static structure of a run, fixed when programs are compiled."""

    spec: EnvSpec
    policy: Policy
    algorithm: Algorithm
    columns: int
    """Environments of a rollout, or trajectories if whole episodes are collected."""
    num_steps: int
    """Steps of each column: exactly, or at most if whole episodes are collected."""
    normalize: NormalizeConfig
    not_normalized: frozenset[str] = frozenset()
    """Parts of the observations that `normalize.obs` leaves out."""


class Knobs(NamedTuple):
    """Numbers that are arguments of the compiled program, so that sweeps reuse it."""

    hyper: Hyperparameters
    normalize: NormalizeConfig


class Report(NamedTuple):
    """The results of an iteration."""

    metrics: dict[str, Array]
    steps: Array  # (high, low) words, after the iteration
    episodes: Array  # likewise
    fault: Array  # result of `first_fault`
    finite_params: Array
    outside: Any = ()  # result of `bounds.outside` on the device, [P, 4]


def make_setup(config: RunConfig, spec: EnvSpec, policy: Policy | None = None) -> Setup:
    """The structure of a run on environments like `spec`, perhaps with another policy.

    Raises a UsageError if whole episodes are collected, and they have no time limit.
    """
    # network and algorithm
    if policy is None and own_names(config.network):
        policy = make_policy(spec, config.network)  # the class may have changed
    policy = policy or shared(make_policy, spec, config.network)
    algorithm = shared(ALGORITHMS[config.algo.name], policy)
    num_envs, num_steps = config.env.num_envs, config.rollout.num_steps

    # shape of a rollout [T, N]; columns of whole episodes are padded to the time limit
    if algorithm.collects == "episodes":
        if spec.max_episode_steps is None:
            raise UsageError(
                f"{config.algo.name} learns from whole episodes, and those of "
                f"{spec.id} have no time limit",
                help="set env.max_episode_steps",
            )
        num_envs *= config.rollout.episodes_per_env
        num_steps = spec.max_episode_steps
    left_out = not_normalized(config.network, spec.obs)
    return Setup(
        spec, policy, algorithm, num_envs, num_steps, config.normalize, left_out
    )


def make_knobs(config: RunConfig) -> Knobs:
    """The numbers of a configuration, as float32."""
    return Knobs(
        Hyperparameters(
            as_leaves(config.algo),
            as_leaves(config.optimizer),
            config.parallel.shards or 1,
        ),
        as_leaves(config.normalize),
    )


def structure(knobs: Knobs) -> Knobs:
    """Knobs without their numbers: equal for all that share a compiled program."""
    blank: Knobs = jax.tree.map(lambda _: np.float32(0), knobs)
    return blank


def init_agent(setup: Setup, key: Key[Array, ""]) -> Agent:
    """An agent with initial parameters and statistics. Consumes the key."""
    stats = None
    if setup.normalize.obs:
        stats = init_obs_stats(
            setup.spec.obs, setup.normalize.clip, setup.not_normalized
        )
    return Agent(setup.policy.init(key), stats)


def agent_shapes(setup: Setup) -> Agent:
    """An agent with the shapes and dtypes of its arrays in their place."""
    return shared(_agent_shapes, setup)


def _agent_shapes(setup: Setup) -> Agent:
    shapes: Agent = jax.eval_shape(lambda: init_agent(setup, random_keys.key(0)))
    return shapes


def init_run(setup: Setup, knobs: Knobs, key: Key[Array, ""]) -> RunState:
    """The state of a run before its first iteration. Consumes the key."""
    agent = init_agent(setup, key)
    scaler = init_reward_scaler(setup.columns) if setup.normalize.reward else None
    shape = RolloutShape(
        setup.num_steps, setup.columns, setup.spec.obs, setup.spec.action
    )
    return RunState(
        setup.algorithm.init(knobs.hyper, agent, shape),
        jnp.uint32(0),
        exact_count.zero(),
        init_tally(setup.columns, setup.algorithm.collects),
        scaler,
    )


def iteration_keys(run_key: Key[Array, ""], iteration: Array) -> tuple[Array, Array]:
    """(collection key, update key) of an iteration. Does not consume `run_key`."""
    collect_key, update_key = jax.random.split(jax.random.fold_in(run_key, iteration))
    return collect_key, update_key


def learn(
    setup: Setup,
    knobs: Knobs,
    state: RunState,
    transitions: Transitions,
    budget: Array,
    key: Key[Array, ""],
) -> tuple[RunState, Report]:
    """(state, report) after learning from one rollout. Consumes the key.

    Rewards are scaled and observations normalised with statistics from before this
    rollout; the statistics are updated afterwards. Reported returns and lengths are
    unscaled and cover whole games, regardless of reward normalisation.

    Args:
      setup: static structure of the run.
      knobs: its numbers.
      state: state before the iteration.
      transitions: transitions [T, N, …] collected with the agent of the state.
      budget: budget of steps, as (high, low) words.
      key: key of the update.
    """
    # fraction of the budget that is used, for schedules
    learner, scaler = state.learner, state.reward_scaler
    progress = jnp.minimum(
        1.0, exact_count.to_float(state.steps) / exact_count.to_float(budget)
    )

    # rewards to learn from [T, N], and ends of episodes with or without life losses
    weight, raw = transitions.weight, transitions.reward
    learned = jnp.sign(raw) if setup.normalize.reward_sign else raw
    reward = learned
    if scaler is not None:
        reward = scale_reward(scaler, learned, knobs.normalize.clip)
    games = transitions.terminated | transitions.truncated
    transitions = end_on_life_loss(transitions)
    done = transitions.terminated | transitions.truncated

    # the update
    rollout = complete(setup.policy, learner.agent, transitions, reward)
    learner, metrics = setup.algorithm.update(
        knobs.hyper, learner, rollout, progress, key
    )

    # statistics of observations (without the last row, which the next rollout has)
    # and of rewards
    stats = learner.agent.obs_stats
    if stats is not None:
        obs = jax.tree.map(lambda x: x[:-1], transitions.obs)
        stats = update_obs_stats(stats, obs, weight)
        learner = learner.replace(agent=learner.agent.replace(obs_stats=stats))
    if scaler is not None:
        gamma = getattr(knobs.hyper.algo, "gamma", jnp.float32(1))
        scaler = update_reward_scaler(scaler, learned, done, weight, gamma)

    # counters and report
    tally = update_tally(state.tally, raw, games, weight)
    num_real = jnp.sum(weight > 0, dtype=jnp.uint32)
    state = RunState(
        learner,
        state.iteration + 1,
        exact_count.add(state.steps, num_real),
        tally,
        scaler,
    )
    metrics["return_mean"], metrics["length_mean"] = recent_means(tally)
    report = Report(
        metrics,
        state.steps,
        tally.count,
        first_fault(transitions, setup.spec.obs),
        all_finite(learner.agent),
    )
    return state, report


def end_on_life_loss(transitions: Transitions) -> Transitions:
    """Transitions with recorded losses of a life as terminations."""
    if transitions.life_lost is None:
        return transitions
    terminated = transitions.terminated | transitions.life_lost
    ended: Transitions = transitions.replace(terminated=terminated, life_lost=None)
    return ended
