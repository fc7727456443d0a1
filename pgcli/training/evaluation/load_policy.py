"""Policies of saved agents as functions, for users' programs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from pgcli.envs.action_masks import flat_mask
from pgcli.envs.actions import host_action, row
from pgcli.envs.base import EnvSpec, ObsSpace, Space, mask_key
from pgcli.envs.host.obs_space_check import complaint
from pgcli.envs.spaces import by_part
from pgcli.nn.policy import Agent, Carry, act
from pgcli.runs_dir import RUNS_DIR
from pgcli.training.backend.precision import in_32_bits
from pgcli.training.evaluation.saved_agents import (
    Trained,
    find_checkpoint,
    load_agent,
)
from pgcli.training.seeds import role_key


def _batch(space: ObsSpace, obs: Any) -> tuple[int, ...]:
    """The leading batch axis of `obs`: (N,) or (); a ValueError for other shapes."""
    if not isinstance(space, Space):
        name = next(iter(space))
        if not isinstance(obs, Mapping) or name not in obs:
            return ()  # the complaint about it names the keys
        return _batch(space[name], obs[name])
    shape = space.shape
    given: tuple[int, ...] = np.asarray(obs).shape
    if given == shape:
        return ()
    if given[1:] == shape and given:
        return given[:1]
    raise ValueError(
        f"an observation has shape {list(given)}; expected {list(shape)}, "
        f"or a batch [N{''.join(f', {n}' for n in shape)}]"
    )


class LoadedPolicy:
    """A trained policy as a function from observations to actions.

    Actions have the form that the environment expects: its own dtype, clipped to its
    bounds, or a NumPy integer if the action space is discrete and there is a single
    observation.

    A policy with a memory remembers the observations of its earlier calls, separately
    for each row of a batch: call `reset` where an episode begins.
    """

    @in_32_bits()
    def __init__(self, trained: Trained, deterministic: bool, seed: int) -> None:
        self.trained = trained
        self._count = 0
        self._key = role_key(seed, "reporting")
        self._carry: Carry = None
        self._start = np.zeros(0, bool)

        def step(agent: Agent, carry: Carry, obs: Any, start: Any, count: Any) -> Any:
            carry, dist = act(trained.policy, agent, carry, obs, start)
            if deterministic:
                return carry, dist.mode()
            key = jax.random.fold_in(self._key, count)
            return carry, dist.sample(dist.noise(key, start.shape))

        self._act = jax.jit(step)

    def reset(self, rows: Any = None) -> None:
        """Begins an episode: the memory of earlier observations is dropped.

        Args:
          rows: rows of the batch that begin one: indices, or a mask [N]; None for all,
            after which the batch may have another size. A policy without memory has
            nothing to drop.
        """
        if rows is None:
            self._carry = None
        elif self._carry is not None:
            self._start[rows] = True

    @in_32_bits()
    def __call__(self, obs: Any, mask: Any = None) -> Any:
        """The action for one observation, or the actions for a batch.

        Args:
          obs: one observation, or a batch [N, …].
          mask: the valid actions [L] or [N, L], 1 each, if the policy was trained with
            action masks and they are not part of the observation.

        Raises:
          ValueError: the observation or the mask does not fit the space of the
            training, or the batch has another size than before and the policy has a
            memory.
        """
        # a batch of observations [N, …], of one row if there is a single one
        spec = self.trained.spec
        obs = _with_mask(spec, obs, mask)
        if not isinstance(spec.obs, Space):
            obs = by_part(obs)
            if self.trained.config.env.obs_keys is not None:
                obs = {key: obs[key] for key in spec.obs if key in obs}
        batch = _batch(spec.obs, obs)
        problem = complaint(spec.obs, obs, batch)
        if problem is not None:
            raise ValueError(f"the observation {problem}")
        rows = _as_batch(spec.obs, obs, bool(batch))
        if not all(np.isfinite(x).all() for x in jax.tree.leaves(rows)):
            raise ValueError("the observation is not finite")

        # actions in the form of the environment
        self._begin(batch[0] if batch else 1)
        count = np.uint32(self._count % 2**32)
        self._carry, action = self._act(
            self.trained.agent, self._carry, rows, self._start, count
        )
        self._start = np.zeros_like(self._start)
        self._count += 1
        action = jax.tree.map(np.asarray, action)
        action = host_action(spec, self.trained.policy.squash(action))
        return action if batch else row(action, 0)

    def _begin(self, count: int) -> None:
        """Prepares the state for `count` observations."""
        policy = self.trained.policy
        if self._carry is not None and policy.recurrent and count != len(self._start):
            raise ValueError(
                f"{count} observations after {len(self._start)}: the policy has a "
                "memory; call reset() before a batch of another size"
            )
        if self._carry is None or count != len(self._start):
            self._carry = policy.initial_carry(count)
            self._start = np.ones(count, bool)


def _with_mask(spec: EnvSpec, obs: Any, mask: Any) -> Any:
    """The observation in the space of the training, with its action mask as a part.

    The mask is given or part of `obs`. Raises a ValueError if it is missing, does not
    fit, or the policy has none.
    """
    key = mask_key(spec.obs)
    if key is None or not isinstance(spec.obs, Mapping):
        if mask is not None:
            raise ValueError("the policy was trained without action masks")
        return obs
    # parts of the observation; a single one may be passed without its name
    rest = [name for name in spec.obs if name != key]
    parts: dict[str, Any] = {rest[0]: obs}
    if isinstance(obs, Mapping):
        parts = dict(obs)
    elif isinstance(obs, tuple):
        parts = by_part(obs)
    # the argument, or else the part of the observation
    own = parts.pop(key, None)
    mask = own if mask is None else mask
    if mask is None:
        raise ValueError("the policy needs the valid actions: policy(obs, mask)")
    parts = by_part(parts)
    # a mask [L], or one for each row of a batch: [N, L]
    batched = rest[0] in parts and _batch(spec.obs[rest[0]], parts[rest[0]])
    try:
        rows = [flat_mask(spec.action, row) for row in (mask if batched else [mask])]
    except ValueError as error:
        raise ValueError(f"the action mask {error}") from None
    return {**parts, key: np.stack(rows) if batched else rows[0]}


def _as_batch(space: ObsSpace, obs: Any, batched: bool) -> Any:
    if not isinstance(space, Space):
        return {k: _as_batch(part, obs[k], batched) for k, part in space.items()}
    with np.errstate(over="ignore"):  # found to be not finite afterwards
        array = np.asarray(obs, space.dtype)
    return array if batched else array[None]


@in_32_bits()
def load_policy(
    path: str | Path,
    *,
    deterministic: bool = True,
    seed: int = 0,
    best: bool = False,
    member: str | None = None,
) -> LoadedPolicy:
    """The policy of a run or checkpoint, as `policy(obs) -> action`.

    With a memory (`network.memory`), `policy.reset()` begins an episode.

    Args:
      path: a run directory or a checkpoint; of a run, the last checkpoint is loaded.
      deterministic: whether to return the most probable action instead of a sample.
      seed: seed of the sampling.
      best: whether to load a run's best checkpoint instead of its last.
      member: text that identifies one of several members: `SEED[,KEY=VALUE…]`.

    Raises:
      UsageError: the run or member does not exist.
      CheckpointError: the checkpoint is missing, damaged or of another format.
    """
    checkpoint_path = find_checkpoint(str(path), RUNS_DIR, best)
    return LoadedPolicy(load_agent(checkpoint_path, member), deterministic, seed)
