"""Tabular MDPs in which every trajectory can be listed, so that nothing is sampled.

The objective comes from a backward recursion and its gradient from differences, in
float64: neither knows of trajectories, scores or credit.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from support.toys import shape_of

from pgcli.algos import ALGORITHMS
from pgcli.algos.base import Hyperparameters, as_leaves
from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.schema import OptimizerConfig
from pgcli.envs.base import Box, DeviceEnv, Discrete, EnvSpec, Step
from pgcli.nn.distributions import Categorical
from pgcli.nn.policy import Agent, Policy
from pgcli.rollout.policy_outputs import complete
from pgcli.rollout.types import Rollout, Transitions
from pgcli.training.loops.device_loop import RUN_ONCE

Outcome = tuple[float, float, int | None]
"""(probability, reward, next state or None at the end)."""


class MDP(NamedTuple):
    """Begins in state 0; `moves[s][a]` lists what may follow."""

    moves: Sequence[Sequence[Sequence[Outcome]]]
    limit: int

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.moves), len(self.moves[0])


class Trajectory(NamedTuple):
    """One way that an episode can go."""

    chance: float  # the environment's part of its probability
    states: tuple[int, ...]
    actions: tuple[int, ...]
    rewards: tuple[float, ...]
    terminated: bool

    def probability(self, logits: np.ndarray) -> float:
        """p_θ(τ)."""
        pairs = list(zip(self.states, self.actions, strict=True))
        return self.chance * float(np.prod([softmax(logits)[pair] for pair in pairs]))


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def score(logits: np.ndarray, state: int, action: int) -> np.ndarray:
    """∇ log π(action|state) in the logits: 1 at the action, less π, in its row."""
    gradient = np.zeros_like(logits)
    gradient[state] = -softmax(logits)[state]
    gradient[state, action] += 1
    return gradient


def trajectories(mdp: MDP) -> list[Trajectory]:
    """Every trajectory of the MDP, to its end or to the limit."""

    def grow(part: Trajectory, state: int) -> Iterator[Trajectory]:
        for action, outcomes in enumerate(mdp.moves[state]):
            for chance, reward, after in outcomes:
                longer = Trajectory(
                    part.chance * chance,
                    (*part.states, state),
                    (*part.actions, action),
                    (*part.rewards, reward),
                    after is None,
                )
                if after is None or len(longer.states) == mdp.limit:
                    yield longer
                else:
                    yield from grow(longer, after)

    return list(grow(Trajectory(1.0, (), (), (), False), 0))


def state_values(mdp: MDP, logits: np.ndarray) -> np.ndarray:
    """V_t(s) for t = 0 … limit, by the backward recursion: [limit + 1, S]."""
    pi, values = softmax(logits), np.zeros((mdp.limit + 1, mdp.shape[0]))
    for t in reversed(range(mdp.limit)):
        for (state, action), chosen in np.ndenumerate(pi):
            for chance, reward, after in mdp.moves[state][action]:
                later = 0.0 if after is None else values[t + 1, after]
                values[t, state] += chosen * chance * (reward + later)
    return values


def objective(mdp: MDP, logits: np.ndarray) -> float:
    """J(θ): the expected return from state 0."""
    return float(state_values(mdp, logits)[0, 0])


def objective_gradient(mdp: MDP, logits: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """∇J(θ) by central differences, exact to about 1e-10."""
    gradient = np.zeros_like(logits)
    for index in np.ndindex(*logits.shape):
        ends = []
        for sign in (1, -1):
            moved = logits.copy()
            moved[index] += sign * step
            ends.append(objective(mdp, moved))
        gradient[index] = (ends[0] - ends[1]) / (2 * step)
    return gradient


def apply(params: Any, carry: Any, obs: Any, start: Any) -> Any:
    return carry, Categorical(obs @ params["logits"]), obs @ params["value"]


POLICY = Policy(lambda key: None, lambda num_envs: (), apply)
"""Softmax over a table of logits [S, A], and a table of values [S]; states one-hot."""


def params_of(logits: np.ndarray, value: np.ndarray | None = None) -> Any:
    value = np.zeros(len(logits)) if value is None else value
    return {"logits": jnp.float32(logits), "value": jnp.float32(value)}


@cache
def completed() -> Any:
    """(params, transitions) -> rollout."""

    def run(params: Any, made: Transitions) -> Rollout:
        return complete(POLICY, Agent(params, None), made, made.reward)

    return jax.jit(run, compiler_options=RUN_ONCE)


def rollout_of(params: Any, episodes: Sequence[Trajectory]) -> Rollout:
    """One column per trajectory, padded with rows of weight 0, under θ' = `params`."""
    num_states = params["value"].shape[0]
    longest, count = max(len(e.states) for e in episodes), len(episodes)
    obs = np.zeros((longest + 1, count, num_states), np.float32)
    action = np.zeros((longest, count), np.int32)
    reward, weight = np.zeros((2, longest, count), np.float32)
    terminated, truncated = np.zeros((2, longest, count), bool)
    for n, episode in enumerate(episodes):
        size = len(episode.states)
        obs[range(size), n, episode.states] = 1
        action[:size, n] = episode.actions
        reward[:size, n] = episode.rewards
        weight[:size, n] = 1
        terminated[size - 1, n] = episode.terminated
        truncated[size - 1, n] = not episode.terminated
    start = np.zeros((longest + 1, count), bool)
    start[0] = True
    made = Transitions(
        obs=obs,
        action=action,
        reward=reward,
        terminated=terminated,
        truncated=truncated,
        start=start,
        weight=weight,
        final_obs=obs[0, :0],
        final_index=np.zeros(0, np.int32),
        first_carry=(),
    )
    return completed()(params, made)


def take(rollout: Rollout, columns: Any) -> Rollout:
    """The rollout of these columns only."""
    last_obs, last_start = rollout.last_obs[columns], rollout.last_start[columns]
    kept = {"final_obs": rollout.final_obs, "final_index": rollout.final_index}
    chosen: Rollout = jax.tree.map(
        lambda x: x[:, columns],
        rollout.replace(last_obs=(), last_start=(), final_obs=(), final_index=()),
    )
    return chosen.replace(last_obs=last_obs, last_start=last_start, **kept)


PLAIN = OptimizerConfig(lr=1e-3, max_grad_norm=None, beta1=0.0)
"""β₁ = 0 makes Adam's first moment the gradient itself."""


@cache
def _program(algo: str, wanted: tuple[str, ...]) -> Any:
    algorithm = ALGORITHMS[algo](POLICY)

    def run(hyper: Any, params: Any, memory: Any, rollout: Any, columns: Any) -> Any:
        learner = algorithm.init(hyper, Agent(params, None), shape_of(rollout))
        if memory is not None:
            learner = learner.replace(memory=memory)
        batch = take(rollout, columns)
        progress = jnp.float32(0)
        learner, metrics = algorithm.update(
            hyper, learner, batch, progress, jax.random.key(0)
        )
        gradient = -learner.opt_state.mu[: params["logits"].size]
        kept = {name: metrics[name] for name in wanted}
        return gradient.reshape(params["logits"].shape), kept

    batched = jax.vmap(run, in_axes=(None, None, None, None, 0))
    return jax.jit(batched, compiler_options=RUN_ONCE)


class Estimates(NamedTuple):
    """What the algorithm made of each batch."""

    gradient: np.ndarray  # [K, S, A], float64, of what is ascended
    metrics: dict[str, np.ndarray]  # each [K]


def estimates(
    algo: str,
    params: Any,
    rollout: Rollout,
    batches: np.ndarray,
    memory: Any = None,
    wanted: tuple[str, ...] = (),
    **hyper: Any,
) -> Estimates:
    """One update from θ = `params` per row of `batches`: columns of the rollout."""
    config = as_leaves(ALGORITHM_CONFIGS[algo](**hyper))
    both = Hyperparameters(config, as_leaves(PLAIN))
    gradient, metrics = _program(algo, wanted)(both, params, memory, rollout, batches)
    named = {name: np.asarray(x, np.float64) for name, x in metrics.items()}
    return Estimates(np.asarray(gradient, np.float64), named)


def all_batches(count: int, size: int) -> np.ndarray:
    """Every ordered batch of `size` trajectories out of `count`: [count^size, size]."""
    grid = np.meshgrid(*[np.arange(count)] * size, indexing="ij")
    return np.stack(grid, axis=-1).reshape(-1, size)


def batch_probabilities(probability: np.ndarray, batches: np.ndarray) -> np.ndarray:
    """The probability of drawing each batch, trajectory by trajectory."""
    return np.prod(probability[batches], axis=1)


def expectation(probability: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.tensordot(probability, x, axes=1)


def total_variance(probability: np.ndarray, x: np.ndarray) -> float:
    """The trace of the covariance of `x` [K, …]."""
    centred = x - expectation(probability, x)
    return float(np.sum(probability * np.sum(centred.reshape(len(x), -1) ** 2, axis=1)))


DETOUR = MDP(
    moves=(
        (((1.0, 1.0, None),), ((0.5, 0.5, 1), (0.5, 0.25, 2))),
        (((1.0, 2.0, None),), ((1.0, -1.0, 2),)),
        (((1.0, 3.0, None),), ((1.0, 0.75, 2),)),
    ),
    limit=4,
)
"""Episodes of one to four steps; the long ones are better, and four is a limit."""

LOGITS = np.array([[0.2, -0.1], [-0.4, 0.3], [0.1, 0.5]])


def device_env(mdp: MDP) -> DeviceEnv:
    """The MDP as an on-device environment; the limit truncates."""
    num_states, num_actions = mdp.shape
    most = max(len(outcomes) for row in mdp.moves for outcomes in row)
    chance, reward = np.zeros((2, num_states, num_actions, most), np.float32)
    after = np.zeros((num_states, num_actions, most), np.int32)
    for state, row in enumerate(mdp.moves):
        for action, outcomes in enumerate(row):
            for k, (p, r, follows) in enumerate(outcomes):
                chance[state, action, k], reward[state, action, k] = p, r
                after[state, action, k] = -1 if follows is None else follows
    spec = EnvSpec(
        "toy:mdp",
        Box((num_states,), "float32", 0.0, 1.0),
        Discrete(num_actions),
        mdp.limit,
    )
    tables = tuple(jnp.asarray(x) for x in (jnp.log(chance), reward, after))

    def observe(state: Any) -> Any:
        return jax.nn.one_hot(state, num_states)

    def reset(key: Any) -> Any:
        return (jnp.int32(0), jnp.int32(0)), observe(jnp.int32(0))

    def step(key: Any, state: Any, action: Any) -> Any:
        where, elapsed = state
        log_chance, pay, follows = (table[where, action] for table in tables)
        k = jax.random.categorical(key, log_chance)
        terminated = follows[k] < 0
        now = jnp.maximum(follows[k], 0), elapsed + 1
        outcome = Step(observe(now[0]), pay[k], terminated, now[1] >= mdp.limit)
        return now, outcome

    return DeviceEnv(spec, reset, step)
