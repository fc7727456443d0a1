"""Noise of the policy gradient for each weight Ψ on ∇log π.

    ĝ_n = Σ_t Ψ_t ∇log π_θ(a_t|s_t)      of one trajectory n

All Ψ are computed on the same trajectories at the same θ. Noise over signal is
tr Cov(ĝ)/‖E ĝ‖²: the number of trajectories for which the error of the mean gradient
is as large as the gradient itself.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from pgcli.algos.advantage import (
    explained_variance,
    leave_one_out,
    reward_to_go,
    weighted_mean,
    whole_return,
)
from pgcli.arrays.shapes import Array, Float, Key
from pgcli.ladder.fitted_baseline import fitted_value
from pgcli.nn.normalize import normalize_obs
from pgcli.nn.policy import Agent, Params, Policy
from pgcli.rollout.types import Transitions

AT_ONCE = 16
"""Number of trajectories whose gradients are computed in parallel."""


class Weighting(NamedTuple):
    """One choice of Ψ."""

    name: str
    estimates: str
    """The expectation of ĝ: the gradient of the return or of the discounted return."""


WHOLE = (
    Weighting("R(τ)", "∇J"),
    Weighting("R(τ) − mean", "(1 − 1/N) ∇J"),
    Weighting("R(τ) − leave-one-out", "∇J"),
)
TO_GO = (
    Weighting("G", "∇J"),
    Weighting("G − mean", "∇J, nearly"),
    Weighting("G − leave-one-out", "∇J"),
    Weighting("G − V(s)", "∇J"),
)
DISCOUNTED = tuple(
    Weighting(name.replace("G", "G_γ"), estimates.replace("∇J", "∇J_γ"))
    for name, estimates in TO_GO
)


class Noise(NamedTuple):
    """Of gradients ĝ_n of single trajectories: ‖ĝ_n‖² and ĝ_n · Σ_m ĝ_m, both [N]."""

    squares: np.ndarray
    products: np.ndarray

    def variance(self) -> np.ndarray:
        """Tr Cov(ĝ): [0] of all trajectories, [n] without trajectory n − 1."""
        total, norm, count = self._sums()
        return np.asarray((total - norm / count) / (count - 1))

    def signal(self) -> np.ndarray:
        """Unbiased ‖E ĝ‖², from pairs of different trajectories; as `variance`."""
        total, norm, count = self._sums()
        return np.asarray((norm - total) / (count * (count - 1)))

    def _sums(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(Σ‖ĝ‖², ‖Σĝ‖², N): [0] of all trajectories, [n] without trajectory n − 1."""
        total, norm = self.squares.sum(), self.products.sum()
        count = len(self.squares)
        return (
            np.append(total, total - self.squares),
            np.append(norm, norm - 2 * self.products + self.squares),
            np.append(count, np.full(count, count - 1)),
        )


def whole_weights(
    reward: Float[Array, "T N"], weight: Float[Array, "T N"]
) -> list[Float[Array, "T N"]]:
    """Ψ of `WHOLE` on N complete trajectories, one per column."""
    whole = whole_return(reward, weight)
    each = whole[0]
    others = leave_one_out(each, jnp.ones_like(each))[None]
    return [
        whole,
        whole - jnp.mean(each),
        whole - jnp.broadcast_to(others, whole.shape),
    ]


def to_go_weights(
    reward: Float[Array, "T N"],
    weight: Float[Array, "T N"],
    gamma: Float[Array, ""],
    value: Float[Array, "T N"],
) -> list[Float[Array, "T N"]]:
    """Ψ of `TO_GO` with a discount.

    The last Ψ is the advantage for λ = 1, G_t − V(s_t). As on the Monte Carlo rungs, a
    time limit ends the trajectory without bootstrapping, so that all Ψ estimate the
    same gradient.
    """
    credit = reward_to_go(reward, weight, gamma)
    total, count = jnp.sum(credit * weight, axis=0), jnp.sum(weight, axis=0)
    others = jnp.broadcast_to(leave_one_out(total, count)[None], credit.shape)
    mean = weighted_mean(credit, weight)
    return [credit, credit - mean, credit - others, credit - value]


@partial(jax.jit, static_argnames="policy")
def trajectory_noise(
    policy: Policy,
    params: Params,
    obs: Any,
    action: Any,
    weight: Float[Array, "T N"],
    psi: Float[Array, "T N"],
) -> tuple[Float[Array, " N"], Float[Array, " N"]]:
    """(‖ĝ_n‖², ĝ_n · Σ_m ĝ_m) of every trajectory's gradient under Ψ.

    Args:
      policy: feed-forward.
      params: θ.
      obs: normalised observations [T, N, …].
      action: [T, N, …].
      weight: 1 up to the end of each trajectory, then 0.
      psi: Ψ.
    """
    flat, unravel = ravel_pytree(params)

    def gradient(column: Any) -> Array:
        obs, action, weight, psi = column

        def objective(flat: Array) -> Array:
            start = jnp.zeros(weight.shape, bool)
            _, dist, _ = policy.apply(unravel(flat), (), obs, start)
            logp = dist.log_prob(action)
            return jnp.sum(jnp.where(weight > 0, logp * psi, 0.0))

        result: Array = jax.grad(objective)(flat)
        return result

    columns = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), (obs, action, weight, psi))
    size = min(AT_ONCE, weight.shape[1])
    gradients = jax.lax.map(gradient, columns, batch_size=size)
    return jnp.sum(gradients**2, axis=1), gradients @ jnp.sum(gradients, axis=0)


def measure(
    policy: Policy,
    agent: Agent,
    transitions: Transitions,
    to_fit: Transitions,
    gamma: float | None,
    key: Key[Array, ""],
) -> dict[str, Any]:
    """Noise over signal of every Ψ at the agent's θ. Consumes the key.

    Args:
      policy: the policy.
      agent: θ and its observation statistics.
      transitions: complete trajectories of the agent on which the Ψ are compared.
      to_fit: other trajectories, to fit V on: a V fitted on the same trajectories
        would depend on their actions.
      gamma: a discount to measure in addition to 1, or None.
      key: for the fits.

    Returns:
      `episodes, return_mean, length_mean, explained_variance, rows`.
    """
    seen, other = Trajectories.of(agent, transitions), Trajectories.of(agent, to_fit)
    discounts = {"plain": jnp.float32(1)}
    if gamma is not None:
        discounts["discounted"] = jnp.float32(gamma)
    choices, weights = list(WHOLE), _WHOLE(seen.reward, seen.weight)
    explained = {}
    # the Ψ of rewards-to-go, with and without discount
    for (kind, discount), fit_key in zip(
        discounts.items(), jax.random.split(key, len(discounts)), strict=True
    ):
        target = _TO_GO(other.reward, other.weight, discount, other.reward)[0]
        value = fitted_value(policy, other.obs, target, other.weight, seen.obs, fit_key)
        psi = _TO_GO(seen.reward, seen.weight, discount, value)
        explained[kind] = float(explained_variance(value, psi[0], seen.weight))
        choices += TO_GO if kind == "plain" else DISCOUNTED
        weights += psi
    # gradients of every trajectory under every Ψ
    measured = []
    for psi in weights:
        sums = trajectory_noise(
            policy, agent.params, seen.obs, seen.action, seen.weight, psi
        )
        measured.append(Noise(*(np.asarray(x, np.float64) for x in sums)))
    lengths = np.asarray(seen.weight).sum(axis=0)
    return {
        "episodes": len(lengths),
        "return_mean": float(np.asarray(seen.reward).sum() / len(lengths)),
        "length_mean": float(lengths.mean()),
        "explained_variance": explained,
        "rows": compare(choices, measured),
    }


class Trajectories(NamedTuple):
    """Trajectories with normalised observations; rewards are 0 after their end."""

    obs: Any
    action: Any
    reward: Array
    weight: Array

    @classmethod
    def of(cls, agent: Agent, transitions: Transitions) -> "Trajectories":
        """Those of an agent up to the last end; T is rounded up to a power of two."""
        weight = np.asarray(transitions.weight)
        longest = int(weight.sum(axis=0).max())
        length = min(len(weight), 1 << (longest - 1).bit_length())
        obs, action, reward = jax.tree.map(
            lambda x: np.asarray(x)[:length],
            (transitions.obs, transitions.action, transitions.reward),
        )
        weight = weight[:length]
        return cls(
            _NORMALIZE(agent.obs_stats, jax.tree.map(jnp.asarray, obs)),
            jax.tree.map(jnp.asarray, action),
            jnp.asarray(reward * weight),
            jnp.asarray(weight),
        )


_WHOLE, _TO_GO = jax.jit(whole_weights), jax.jit(to_go_weights)
_NORMALIZE = jax.jit(normalize_obs)


def compare(every: list[Weighting], measured: list[Noise]) -> list[dict[str, Any]]:
    """One row per Ψ: variance, signal, and their ratio with a 95 % interval.

    All Ψ with the same expectation share one signal, that of the least noisy Ψ: it is
    the best estimate of the gradient's length. Intervals come from the jackknife over
    trajectories, on the logarithm of the ratio. A ratio is None if the signal is lost
    in the noise.
    """
    rows, pairs = [], list(zip(every, measured, strict=True))
    for choice, noise in pairs:
        discounted = "γ" in choice.estimates
        kin = [other for kind, other in pairs if ("γ" in kind.estimates) == discounted]
        reference = min(kin, key=lambda other: float(other.variance()[0]))
        variance, signal = noise.variance(), reference.signal()
        row = {
            "weight": choice.name,
            "estimates": choice.estimates,
            "variance": float(variance[0]),
            "signal": float(signal[0]),
            "own_signal": float(noise.signal()[0]),
            "ratio": None,
            "ci": None,
        }
        if (variance > 0).all() and (signal > 0).all():
            ratio = variance / signal
            logs = np.log(ratio[1:])  # jackknife replicates
            count = len(logs)
            error = math.sqrt((count - 1) / count * ((logs - logs.mean()) ** 2).sum())
            row["ratio"] = float(ratio[0])
            row["ci"] = [float(ratio[0] * math.exp(s * 1.96 * error)) for s in (-1, 1)]
        rows.append(row)
    return rows
