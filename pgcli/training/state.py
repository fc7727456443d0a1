"""The state of a run between two iterations, and its form in a checkpoint."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from pgcli.algos.base import LearnerState
from pgcli.arrays import compensated_sum, exact_count
from pgcli.arrays.recursion import recur
from pgcli.arrays.shapes import Array, Bool, Float
from pgcli.config.algorithms import Collects
from pgcli.errors import CheckpointError
from pgcli.nn.normalize import RewardScaler

RECENT = 100
"""Number of episodes in the mean training return, as in other libraries."""

REMAINDER, RINGS = ".tally.remainder", (".tally.recent_return", ".tally.recent_length")
"""Names in checkpoints that older versions lack, or stored with `RECENT` slots."""


class EpisodeTally(struct.PyTreeNode):
    """Unscaled returns and lengths of the current episodes and of the last finished."""

    return_: Array  # [N]
    remainder: Array  # [N]: rounding errors of `return_`
    length: Array  # [N]
    recent_return: Array  # [R], a ring
    recent_length: Array  # [R]
    count: Array  # (high, low) words: finished episodes


class RunState(struct.PyTreeNode):
    """The state that both loops carry from iteration to iteration."""

    learner: LearnerState
    iteration: Array
    steps: Array  # (high, low) words: real transitions
    tally: EpisodeTally
    reward_scaler: RewardScaler | None


class DeviceState(struct.PyTreeNode):
    """State of a run and of its environments."""

    run: RunState
    env: Any  # DeviceEnvState; () if every rollout begins with resets


def init_tally(num_envs: int, collects: Collects = "steps") -> EpisodeTally:
    """A tally without episodes, with a ring for the last `RECENT`.

    Whole episodes are kept by batches of N, the fewest that have `RECENT` episodes: in
    a part of a batch, in the order in which its episodes end, long ones prevail.
    """
    size = RECENT
    if collects == "episodes":
        size = -(-RECENT // num_envs) * num_envs
    return EpisodeTally(
        jnp.zeros(num_envs),
        jnp.zeros(num_envs),
        jnp.zeros(num_envs, jnp.int32),
        jnp.zeros(size),
        jnp.zeros(size, jnp.int32),
        exact_count.zero(),
    )


def update_tally(
    tally: EpisodeTally,
    reward: Float[Array, "T N"],
    done: Bool[Array, "T N"],
    weight: Float[Array, "T N"],
) -> EpisodeTally:
    """The tally updated by a rollout of unscaled rewards, in the order of time."""

    # running return and length of each environment before the reset: [T, N]
    def step(carry: Any, inputs: Any) -> Any:
        return_, remainder, length = carry
        reward, done, real = inputs
        reward = jnp.where(real, reward, 0.0)
        return_, remainder = compensated_sum.add(return_, remainder, reward)
        length = length + real.astype(jnp.int32)
        after = jax.tree.map(
            lambda x: jnp.where(done, jnp.zeros_like(x), x),
            (return_, remainder, length),
        )
        return after, (return_ + remainder, length)

    current, (returns, lengths) = recur(
        step, (tally.return_, tally.remainder, tally.length), (reward, done, weight > 0)
    )

    # in one array, so that devices exchange data once: [3, T·N]
    columns = (
        jax.lax.bitcast_convert_type(returns, jnp.int32),
        lengths,
        done.astype(jnp.int32),
    )
    returns, lengths, ended = jnp.stack(columns).reshape(3, -1)
    # finished episodes are numbered from 1; only the newest R are kept
    size = tally.recent_return.shape[0]
    order = jnp.cumsum(ended.astype(jnp.uint32))
    total = order[-1]
    newest = (ended > 0) & (order + size > total)
    # the position in the ring is the exact count modulo R
    before = tally.count[0] % size * (2**32 % size) + tally.count[1] % size
    slot = jnp.where(newest, (before + order - 1) % size, size)
    return EpisodeTally(
        *current,
        tally.recent_return.at[slot].set(
            jax.lax.bitcast_convert_type(returns, jnp.float32), mode="drop"
        ),
        tally.recent_length.at[slot].set(lengths, mode="drop"),
        exact_count.add(tally.count, total),
    )


def recent_means(tally: EpisodeTally) -> tuple[Array, Array]:
    """(mean return, mean length) of the last episodes; NaN before the first."""
    total = exact_count.to_float(tally.count)
    # mean over the slots of the ring that are filled
    slots = jnp.arange(len(tally.recent_return), dtype=jnp.float32)
    known = slots < total
    count = jnp.sum(known, dtype=jnp.float32)

    def mean(x: Array) -> Array:
        whole = jnp.sum(jnp.where(known, x.astype(jnp.float32), 0.0))
        return jnp.where(count > 0, whole / jnp.maximum(count, 1), jnp.nan)

    return mean(tally.recent_return), mean(tally.recent_length)


def to_arrays(tree: Any) -> dict[str, np.ndarray]:
    """All leaves by path, with random keys as their data."""

    def plain(leaf: Any) -> np.ndarray:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        return np.asarray(leaf)

    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): plain(leaf) for path, leaf in leaves}


def check_finite(arrays: Mapping[str, np.ndarray], where: str) -> None:
    """Raises a CheckpointError if an array of an agent is not finite."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise CheckpointError(
                f"{name} of the agent is not finite",
                where=where,
                help="use another checkpoint of the run",
            )


def from_arrays(template: Any, arrays: Mapping[str, np.ndarray], where: str) -> Any:
    """The tree shaped like `template` with the leaves of `arrays`.

    Raises:
      CheckpointError: a leaf is missing, unknown, or of another shape or dtype; the
        message names both sides.
    """
    # the names must be the same
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    names = [jax.tree_util.keystr(path) for path, _ in leaves]
    arrays = _in_todays_layout(
        arrays, dict(zip(names, (x for _, x in leaves), strict=True))
    )
    missing, extra = set(names) - set(arrays), set(arrays) - set(names)
    if missing or extra:
        raise CheckpointError(
            "the checkpoint does not fit this configuration: "
            + "; ".join(
                f"{what} {', '.join(sorted(which)[:4])}"
                for what, which in (("lacks", missing), ("has unknown", extra))
                if which
            ),
            where=where,
        )

    # shapes and dtypes too
    def restore(name: str, leaf: Any) -> Any:
        stored = arrays[name]
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        expected = jax.eval_shape(jax.random.key_data, leaf) if is_key else leaf
        if stored.shape != expected.shape or stored.dtype != expected.dtype:
            raise CheckpointError(
                f"{name} is {stored.dtype}{list(stored.shape)} in the checkpoint and "
                f"{expected.dtype}{list(expected.shape)} in this configuration",
                where=where,
            )
        array = jax.device_put(stored, may_alias=False)  # compiles nothing
        return jax.random.wrap_key_data(array) if is_key else array

    restored = [
        restore(name, leaf) for name, (_, leaf) in zip(names, leaves, strict=True)
    ]
    return jax.tree_util.tree_unflatten(structure, restored)


def run_groups(run: RunState) -> dict[str, dict[str, np.ndarray]]:
    """Arrays of a run by group: the agent, and all else."""
    rest = run.replace(learner=run.learner.replace(agent=None))
    return {"agent": to_arrays(run.learner.agent), "run": to_arrays(rest)}


def restored_run(
    run: RunState, groups: Mapping[str, Mapping[str, np.ndarray]], where: str
) -> RunState:
    """The inverse of `run_groups`, with the structure of `run`; see `from_arrays`."""
    agent = from_arrays(run.learner.agent, groups["agent"], where)
    rest = run.replace(learner=run.learner.replace(agent=None))
    state: RunState = from_arrays(rest, groups["run"], where)
    return state.replace(learner=state.learner.replace(agent=agent))


def _in_todays_layout(
    arrays: Mapping[str, np.ndarray], leaves: Mapping[str, Any]
) -> Mapping[str, np.ndarray]:
    """Arrays of any version, with what `EpisodeTally` has had since an older one."""
    changed = {}
    if REMAINDER in leaves and REMAINDER not in arrays:
        changed[REMAINDER] = np.zeros(leaves[REMAINDER].shape, np.float32)
    # a ring of RECENT slots is repeated or cut off
    for name in RINGS:
        ring, leaf = arrays.get(name), leaves.get(name)
        if ring is not None and leaf is not None and ring.shape[-1:] == (RECENT,):
            changed[name] = ring[..., np.arange(leaf.shape[-1]) % RECENT]
    return {**arrays, **changed}
