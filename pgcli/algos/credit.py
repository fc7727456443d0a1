"""Credit assignment: how good each action was. Axes: T time, N environments."""

import jax
import jax.numpy as jnp

from pgcli.rollout.types import Rollout
from pgcli.shapes import Array, Bool, Float


def gae(
    reward: Float[Array, "T N"],
    value: Float[Array, "T N"],
    next_value: Float[Array, "T N"],
    terminated: Bool[Array, "T N"],
    truncated: Bool[Array, "T N"],
    gamma: Float[Array, ""],
    gae_lambda: Float[Array, ""],
) -> Float[Array, "T N"]:
    """Generalised advantage estimates Â (Schulman et al., 2015, arXiv 1506.02438).

    δ_t = r_t + γ(1 − terminated_t)·V(s'_t) − V(s_t) and
    Â_t = δ_t + γλ(1 − done_t)·Â_{t+1}. A truncated step bootstraps from its own final
    observation; nothing crosses the end of an episode. λ = 0 gives δ, λ = 1 the
    bootstrapped return minus V (eq. 16 to 18 there).

    Args:
      reward: r_t.
      value: V(s_t).
      next_value: V(s'_t), of the observation that followed before any reset.
      terminated: where the MDP ended.
      truncated: where a limit cut it off.
      gamma: discount γ in [0, 1].
      gae_lambda: λ in [0, 1].
    """
    delta = reward + gamma * jnp.where(terminated, 0.0, next_value) - value
    decay = gamma * gae_lambda * (~(terminated | truncated)).astype(jnp.float32)

    def step(advantage: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        delta, decay = inputs
        advantage = delta + decay * advantage
        return advantage, advantage

    _, advantage = jax.lax.scan(
        step, jnp.zeros_like(delta[0]), (delta, decay), reverse=True
    )
    return advantage


def rollout_advantage(
    rollout: Rollout, gamma: Array, gae_lambda: Array
) -> tuple[Float[Array, "T N"], Float[Array, "T N"]]:
    """(Â, R̂ = Â + V) of a rollout, by `gae` with the values it carries."""
    advantage = gae(
        rollout.reward,
        rollout.value,
        rollout.next_value,
        rollout.terminated,
        rollout.truncated,
        gamma,
        gae_lambda,
    )
    return advantage, advantage + rollout.value


def weighted_mean(x: Float[Array, "*B"], weight: Float[Array, "*B"]) -> Array:
    """Σw·x/Σw, the mean over real transitions; 0 where there are none."""
    return jnp.sum(weight * x) / jnp.maximum(jnp.sum(weight), 1e-8)


def standardize(
    advantage: Float[Array, "*B"], weight: Float[Array, "*B"]
) -> Float[Array, "*B"]:
    """Advantages with mean 0 and standard deviation 1 over the real samples.

    With one sample, or no variance, the result is 0: such a batch says nothing of
    which action was better.
    """
    centred = advantage - weighted_mean(advantage, weight)
    std = jnp.sqrt(weighted_mean(centred**2, weight))
    return centred / (std + 1e-8)


def explained_variance(
    value: Float[Array, "*B"], return_: Float[Array, "*B"], weight: Float[Array, "*B"]
) -> Array:
    """Share of the returns' variance that the critic explains: 1 − Var[R − V]/Var[R].

    Returns 0 where the returns are constant: there is nothing to explain.
    """

    def variance(x: Array) -> Array:
        return weighted_mean((x - weighted_mean(x, weight)) ** 2, weight)

    total = variance(return_)
    explained = 1 - variance(return_ - value) / jnp.where(total > 0, total, 1)
    return jnp.where(total > 0, explained, 0.0)
