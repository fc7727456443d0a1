"""A trained policy as one pure function, and observations to compare its copies on."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pgcli.envs.actions import env_action
from pgcli.envs.base import ActionMask, Box, Discrete, MultiDiscrete, Space
from pgcli.errors import PgcliError
from pgcli.nn.policy import Agent, act
from pgcli.training.evaluation.saved_agents import Trained

Arrays = tuple[np.ndarray, ...]
"""A batch [B, …] of each input, or of each output."""


class ExportError(PgcliError):
    """The policy could not be written in this format, or acts differently there."""


class ExportedPolicy(NamedTuple):
    """The most probable action as a function of the raw observation.

    Attributes:
      trained: the agent.
      inputs: name of each input -> its space; `obs`, or the keys of a Dict in order,
        then the parts of a memory's state, zeros where an episode begins.
      outputs: names of the outputs: `action`, or `action/` and the path of each part of
        a Dict or Tuple; then the parts of the next state.
      function: one array [B, …] per input -> one per output; only the actions without
        memory. Actions are as the environment takes them: counted from its first action
        and clipped to its bounds.
    """

    trained: Trained
    inputs: Mapping[str, Space]
    outputs: Sequence[str]
    function: Callable[..., Any]


STATE = {"state_output": (-1.0, 1.0), "state_cell": (-math.inf, math.inf)}
"""Parts of a memory's state with their bounds; the second is of an LSTM alone."""


def exported_policy(trained: Trained) -> ExportedPolicy:
    """The policy with its normaliser and the post-processing of actions."""
    spec = trained.spec
    single = isinstance(spec.obs, Space)
    inputs = {"obs": spec.obs} if isinstance(spec.obs, Space) else dict(spec.obs)
    # the value function's memory does not act, so only the policy's is carried
    memory: tuple[Any, ...] = ()
    if trained.policy.recurrent:
        memory = trained.policy.initial_carry(1)["policy"]
    states = dict(list(STATE.items())[: len(memory)])
    actions = ["action"]
    if not isinstance(spec.action, Space):
        actions = [f"action/{name}" for name in spec.action]
    parts_of_obs = len(inputs)

    def function(*parts: Any) -> Any:
        obs, state = parts[:parts_of_obs], parts[parts_of_obs:]
        batch = parts[0].shape[0]
        carry = trained.policy.initial_carry(batch)
        if states:
            carry |= {"policy": state}
        carry, dist = act(
            trained.policy,
            trained.agent,
            carry,
            obs[0] if single else dict(zip(inputs, obs, strict=False)),
            jnp.zeros(batch, bool),
        )
        action = env_action(spec.action, trained.policy.squash(dist.mode()))
        if not isinstance(spec.action, Space):
            action = tuple(action[name] for name in spec.action)
        if not states:
            return action
        actions = action if isinstance(action, tuple) else (action,)
        return (*actions, *carry["policy"])

    return ExportedPolicy(
        trained,
        inputs
        | {
            name: Box(tuple(memory[0].shape[1:]), "float32", *bounds)
            for name, bounds in states.items()
        },
        (*actions, *(f"next_{name}" for name in states)),
        function,
    )


def outputs_of(policy: ExportedPolicy, batch: Arrays) -> Arrays:
    """The policy's outputs, as NumPy arrays."""
    return as_arrays(jax.jit(policy.function)(*batch))


def as_arrays(outputs: Any) -> Arrays:
    """What a policy's function returns, as a tuple of NumPy arrays."""
    return tuple(map(np.asarray, outputs if isinstance(outputs, tuple) else (outputs,)))


def flat_arrays(agent: Agent) -> dict[str, np.ndarray]:
    """The agent's arrays by dotted name, such as `params.policy.Dense_0.bias`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(agent)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf)
        for path, leaf in leaves
    }


def run_with(
    policy: ExportedPolicy, arrays: Mapping[str, np.ndarray], batch: Arrays
) -> Arrays:
    """Outputs of the policy with these arrays in place of its own."""
    agent = policy.trained.agent
    leaves = [jnp.asarray(arrays[name]) for name in flat_arrays(agent)]
    agent = jax.tree.unflatten(jax.tree.structure(agent), leaves)
    return outputs_of(exported_policy(policy.trained._replace(agent=agent)), batch)


def shapes(policy: ExportedPolicy, batch: Sequence[Any]) -> list[jax.ShapeDtypeStruct]:
    """Shape and dtype of each input, behind the batch axes."""
    return [
        jax.ShapeDtypeStruct(  # type: ignore[no-untyped-call]
            (*batch, *space.shape), jnp.dtype(space.dtype)
        )
        for space in policy.inputs.values()
    ]


def sample_inputs(policy: ExportedPolicy, count: int) -> Arrays:
    """`count` random inputs: observations as seen in training where that is known.

    A Box is sampled around the normaliser's mean, else between its bounds, else from
    the standard normal distribution.
    """
    random = np.random.default_rng(0)
    stats = policy.trained.agent.obs_stats
    by_name = not isinstance(policy.trained.spec.obs, Space)

    def sample(name: str, space: Space) -> np.ndarray:
        shape = (count, *space.shape)
        if isinstance(space, Discrete):
            return random.integers(space.start, space.start + space.n, shape)
        if isinstance(space, MultiDiscrete):
            first = np.reshape(space.start, space.shape)
            count_of_each = np.reshape(space.nvec, space.shape)
            return random.integers(first, first + count_of_each, shape)
        if isinstance(space, ActionMask):
            return _sample_masks(space, count, random)
        if not isinstance(space, Box):
            return random.integers(0, 2, shape)
        low, high = (np.asarray(b, np.float64) for b in space.bounds())
        mean: Any = ()
        if stats is not None and name not in STATE:
            mean, var = (m[name] if by_name else m for m in (stats.mean, stats.var))
        if not isinstance(mean, tuple):
            return np.clip(random.normal(mean, np.sqrt(var), shape), low, high)
        bounded = np.isfinite(low) & np.isfinite(high) & (high - low < LARGE)
        uniform = random.uniform(
            np.where(bounded, low, 0.0), np.where(bounded, high, 1.0), shape
        )
        return np.where(bounded, uniform, np.clip(random.normal(size=shape), low, high))

    return tuple(
        sample(name, space).astype(space.dtype) for name, space in policy.inputs.items()
    )


def _sample_masks(
    space: ActionMask, count: int, random: np.random.Generator
) -> np.ndarray:
    """Random masks [count, L] with a valid value for each component."""
    mask = random.integers(0, 2, (count, *space.shape))
    for end, size in zip(np.cumsum(space.sizes), space.sizes, strict=True):
        mask[np.arange(count), end - 1 - random.integers(0, size, count)] = 1
    return mask


LARGE = 1e6
"""Wider bounds say nothing about the observations: some spaces end at float32's."""
