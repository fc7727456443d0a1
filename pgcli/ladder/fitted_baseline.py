"""A value function fitted to sampled returns, as a baseline."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from pgcli.algos.optimizer import descend, init_optimizer, scheduled
from pgcli.arrays.shapes import Array, Float, Key
from pgcli.config.schema import OptimizerConfig
from pgcli.nn.policy import Policy

STEPS, BATCH = 1_000, 512
"""Minibatch steps of Adam, and samples in each."""

ADAM = OptimizerConfig(lr=3e-3, schedule="linear", max_grad_norm=None)


@partial(jax.jit, static_argnames="policy")
def fitted_value(
    policy: Policy,
    obs: Any,
    target: Float[Array, "T M"],
    weight: Float[Array, "T M"],
    where: Any,
    key: Key[Array, ""],
) -> Float[Array, "T N"]:
    """V(s) at the observations `where`, V fitted by least squares. Consumes the key.

    V has the architecture of the policy's critic, with new parameters. Targets are
    standardised.

    Args:
      policy: feed-forward.
      obs: normalised observations [T, M, …] to fit V on.
      target: the regression targets.
      weight: 1 for real samples, 0 for padding.
      where: observations [T, N, …] to evaluate V at.
      key: for the parameters and the minibatches.
    """
    init_key, batch_key = jax.random.split(key)
    flat, unravel = ravel_pytree(policy.init(init_key))
    # indices of the real samples come first
    size = weight.size
    (real,) = jnp.nonzero(weight.reshape(-1), size=size, fill_value=0)
    count = jnp.sum(weight > 0)
    samples = jax.tree.map(lambda x: x.reshape(size, *x.shape[2:])[real], obs)
    # standardised targets
    goal, known = target.reshape(-1)[real], jnp.arange(size) < count
    center = jnp.mean(goal, where=known)
    scale = jnp.std(goal, where=known) + 1e-8
    goal = (goal - center) / scale

    def value(flat: Array, obs: Any, batch: tuple[int, ...]) -> Array:
        start = jnp.zeros(batch, bool)
        result: Array = policy.apply(unravel(flat), (), obs, start)[2]
        return result

    def loss(flat: Array, index: Array) -> Array:
        part = jax.tree.map(lambda x: x[index], samples)
        return jnp.mean((value(flat, part, index.shape) - goal[index]) ** 2)

    def step(carry: Any, inputs: Any) -> Any:
        flat, state = carry
        key, progress = inputs
        index = jax.random.randint(key, (BATCH,), 0, count)
        lr = scheduled(ADAM.lr, ADAM.schedule, progress)
        grad = jax.grad(loss)(flat, index)
        flat, state, *_ = descend(ADAM, lr, flat, state, grad, jnp.array(True))
        return (flat, state), None

    # Adam with a linear learning rate schedule, then V at `where`
    keys = jax.random.split(batch_key, STEPS)
    progress = jnp.linspace(0, 1, STEPS, endpoint=False, dtype=jnp.float32)
    first = (flat, init_optimizer(ADAM, flat))
    (flat, _), _ = jax.lax.scan(step, first, (keys, progress))
    batch = jax.tree.leaves(where)[0].shape[:2]
    return center + scale * value(flat, where, batch)
