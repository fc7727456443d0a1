"""Running statistics of observations and of discounted returns.

They are updated once per rollout, after the learning update, from real transitions
only, and are frozen in evaluation. Counts are exact; means and variances are float32.
"""

from collections.abc import Container
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from pgcli.arrays import exact_count
from pgcli.arrays.exact_count import Counter
from pgcli.arrays.recursion import recur
from pgcli.arrays.shapes import Array, Bool, Float
from pgcli.envs.base import Box, ObsSpace, Space

EPS = 1e-8


class ObsStats(struct.PyTreeNode):
    """Mean and variance of each observation element, and the bound on scaled values.

    Parts that are not normalised have () for both: categories are not quantities, and
    pictures are scaled in the network.
    """

    count: Array  # (high, low) words
    mean: Any
    var: Any
    clip: Array


class RewardScaler(struct.PyTreeNode):
    """Variance of the discounted return, and each environment's return so far."""

    count: Array  # (high, low) words
    mean: Array
    var: Array
    discounted: Array  # [N]


def _is_leaf(moment: Any) -> bool:
    return isinstance(moment, tuple)


def init_obs_stats(
    space: ObsSpace, clip: float, left_out: Container[str] = ()
) -> ObsStats:
    """Initial statistics for observations of a space: mean 0, variance 1, count 0.

    Args:
      space: the space.
      clip: bound on normalised values, both sides.
      left_out: keys of a Dict that are not normalised.
    """

    def full(space: Any, value: float) -> Any:
        if isinstance(space, Box):
            return jnp.full(space.shape, value, jnp.float32)
        if isinstance(space, Space):
            return ()
        return {
            name: () if name in left_out else full(part, value)
            for name, part in space.items()
        }

    return ObsStats(
        exact_count.zero(), full(space, 0.0), full(space, 1.0), jnp.float32(clip)
    )


def normalize_obs(stats: ObsStats | None, obs: Any) -> Any:
    """(obs − mean)/std, clipped; `obs` itself if `stats` is None. Any batch axes."""
    if stats is None:
        return obs

    def one(mean: Any, var: Any, x: Array) -> Array:
        if _is_leaf(mean):
            return x
        batch = (1,) * (x.ndim - mean.ndim)
        mean, var = mean.reshape(*batch, *mean.shape), var.reshape(*batch, *var.shape)
        scaled = (x.astype(jnp.float32) - mean) * jax.lax.rsqrt(var + EPS)
        return jnp.clip(scaled, -stats.clip, stats.clip)

    return jax.tree.map(one, stats.mean, stats.var, obs, is_leaf=_is_leaf)


def merge_moments(
    count: Counter, mean: Array, var: Array, x: Array, weight: Float[Array, "*batch"]
) -> tuple[Array, Array]:
    """(mean, var) after the weighted samples `x` join `count` earlier ones.

    The parallel form of Chan, Golub and LeVeque (1983): with the batch's share
    s = n_b/(n + n_b) and δ = mean_b − mean, mean += s·δ and
    var = (1 − s)·var + s·var_b + s(1 − s)·δ². No samples: unchanged.
    """
    batch = tuple(range(weight.ndim))
    weight = weight.reshape(*weight.shape, *(1,) * mean.ndim)
    num_new = jnp.sum(weight)
    safe = jnp.maximum(num_new, 1)
    centre = mean.reshape(*(1,) * len(batch), *mean.shape)
    shifted = x.astype(jnp.float32) - centre
    delta = jnp.sum(weight * shifted, axis=batch) / safe
    spread = (shifted - delta.reshape(centre.shape)) ** 2
    batch_var = jnp.sum(weight * spread, axis=batch) / safe
    share = num_new / jnp.maximum(exact_count.to_float(count) + num_new, 1)
    new_var = (1 - share) * var + share * batch_var + share * (1 - share) * delta**2
    return mean + share * delta, jnp.where(num_new > 0, new_var, var)


def _add_weight(count: Counter, weight: Array) -> Counter:
    return exact_count.add(count, jnp.sum(weight > 0, dtype=jnp.uint32))


def update_obs_stats(
    stats: ObsStats, obs: Any, weight: Float[Array, "T N"]
) -> ObsStats:
    """The statistics updated by the raw observations [T, N, …] of a rollout."""

    def one(mean: Any, var: Any, x: Array) -> tuple[Any, Any]:
        if _is_leaf(mean):
            return (), ()
        return merge_moments(stats.count, mean, var, x, weight)

    pairs = jax.tree.map(one, stats.mean, stats.var, obs, is_leaf=_is_leaf)
    return stats.replace(
        count=_add_weight(stats.count, weight),
        mean=jax.tree.map(lambda pair: pair[0], pairs, is_leaf=_is_leaf),
        var=jax.tree.map(lambda pair: pair[1], pairs, is_leaf=_is_leaf),
    )


def init_reward_scaler(num_envs: int) -> RewardScaler:
    """An initial reward scaler; its scale is 1 until the first update."""
    return RewardScaler(
        exact_count.zero(), jnp.float32(0), jnp.float32(1), jnp.zeros(num_envs)
    )


def scale_reward(
    scaler: RewardScaler, reward: Float[Array, "T N"], clip: Array | float
) -> Float[Array, "T N"]:
    """Reward divided by the standard deviation of the discounted return, clipped.

    The mean is not subtracted, because that would change the optimal policy.
    """
    return jnp.clip(reward * jax.lax.rsqrt(scaler.var + EPS), -clip, clip)


def update_reward_scaler(
    scaler: RewardScaler,
    reward: Float[Array, "T N"],
    done: Bool[Array, "T N"],
    weight: Float[Array, "T N"],
    gamma: Float[Array, ""],
) -> RewardScaler:
    """The scaler updated by a rollout of raw rewards.

    Each environment's return R ← γR + r is sampled at every real step and reset to 0
    *after* the last reward of an episode.
    """

    def step(total: Array, inputs: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        reward, done, weight = inputs
        total = jnp.where(weight > 0, gamma * total + reward, total)
        return jnp.where(done, 0.0, total), total

    discounted, totals = recur(step, scaler.discounted, (reward, done, weight))
    mean, var = merge_moments(scaler.count, scaler.mean, scaler.var, totals, weight)
    return RewardScaler(_add_weight(scaler.count, weight), mean, var, discounted)
