"""Credit assignment: how good each action was. Axes: T time, N environments."""

import jax.numpy as jnp

from pgcli.arrays.recursion import recur
from pgcli.arrays.shapes import Array, Bool, Float
from pgcli.rollout.types import Rollout


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
    # δ [T, N], and the decay of the trace: 0 at the end of an episode, either kind
    delta = reward + gamma * jnp.where(terminated, 0.0, next_value) - value
    decay = gamma * gae_lambda * (~(terminated | truncated)).astype(jnp.float32)

    def step(advantage: Array, inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        delta, decay = inputs
        advantage = delta + decay * advantage
        return advantage, advantage

    # from the last step backwards; nothing follows it
    _, advantage = recur(step, jnp.zeros_like(delta[0]), (delta, decay), reverse=True)
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


def moments(x: Array, weight: Array) -> tuple[Array, Array]:
    """(mean, variance) over the real samples.

    A standard deviation below the rounding of the mean counts as 0: the computed mean
    of equal numbers can be off by 1e-6 of it, which would look like a spread.
    """
    mean = weighted_mean(x, weight)
    variance = weighted_mean((x - mean) ** 2, weight)
    return mean, jnp.where(variance <= (4e-6 * mean) ** 2, 0.0, variance)


def standardize(
    advantage: Float[Array, "*B"], weight: Float[Array, "*B"]
) -> Float[Array, "*B"]:
    """Advantages with mean 0 and standard deviation 1 over the real samples.

    With one sample, or no variance, the result is 0: such a batch does not show which
    action was better.
    """
    return scale_to(advantage, moments(advantage, weight))


def scale_to(
    advantage: Float[Array, "*B"], moments: tuple[Array, Array]
) -> Float[Array, "*B"]:
    """(Â − mean)/deviation for (mean, variance); 0 where there is no variance."""
    mean, variance = moments
    scaled = (advantage - mean) / (jnp.sqrt(variance) + 1e-8)
    return jnp.where(variance == 0, 0.0, scaled)


def explained_variance(
    value: Float[Array, "*B"], return_: Float[Array, "*B"], weight: Float[Array, "*B"]
) -> Array:
    """Fraction of the returns' variance explained by the critic: 1 − Var[R − V]/Var[R].

    Returns 0 where the returns are constant: there is nothing to explain.
    """
    _, total = moments(return_, weight)
    _, rest = moments(return_ - value, weight)
    return jnp.where(total == 0, 0.0, 1 - rest / jnp.where(total == 0, 1.0, total))


def whole_return(
    reward: Float[Array, "T N"], weight: Float[Array, "T N"]
) -> Float[Array, "T N"]:
    """R(τ) = Σ_t r_t of each column's trajectory, the same for each of its steps."""
    total = jnp.sum(reward * weight, axis=0, keepdims=True)
    return jnp.broadcast_to(total, reward.shape)


def reward_to_go(
    reward: Float[Array, "T N"], weight: Float[Array, "T N"], gamma: Float[Array, ""]
) -> Float[Array, "T N"]:
    """G_t = Σ_{t'≥t} γ^{t'−t} r_{t'}, by G_t = r_t + γ·G_{t+1}.

    Each column is one trajectory. An action is not credited with rewards from before
    it (lecture §5, Tip 2).
    """

    def step(after: Array, reward: Array) -> tuple[Array, Array]:
        return_ = reward + gamma * after
        return return_, return_

    _, returns = recur(step, jnp.zeros_like(reward[0]), reward * weight, reverse=True)
    return returns


def leave_one_out(
    total: Float[Array, " N"], count: Float[Array, " N"]
) -> Float[Array, " N"]:
    """For each trajectory the mean over all others: Σ_{m≠n} total_m / Σ_{m≠n} count_m.

    Independent of the trajectory that it is a baseline for, so it leaves the gradient
    unbiased, where the mean of the whole batch shrinks it by 1 − 1/N.
    """
    return (jnp.sum(total) - total) / jnp.maximum(jnp.sum(count) - count, 1e-8)
