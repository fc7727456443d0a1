"""Recurrent layers: they turn features and a state into outputs and the next state.

The state is zero where an episode starts. Products with the features of a whole
sequence are computed at once; only those with the state need a scan over time.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from pgcli.arrays.shapes import Array
from pgcli.nn.layers import dense, orthogonal

State = tuple[Array, ...]
"""[N, m] each: the output, and for an LSTM its cell."""


def _gru(state: State, x: Array, past: Array) -> State:
    """Cho et al., 2014, arXiv 1406.1078, with the reset gate behind the product."""
    x_reset, x_keep, x_new = jnp.split(x, 3, axis=-1)
    h_reset, h_keep, h_new = jnp.split(past, 3, axis=-1)
    keep = jax.nn.sigmoid(x_keep + h_keep)
    new = jnp.tanh(x_new + jax.nn.sigmoid(x_reset + h_reset) * h_new)
    return (new + keep * (state[0] - new),)


def _lstm(state: State, x: Array, past: Array) -> State:
    """Hochreiter & Schmidhuber, 1997, with the forget gate of Gers et al., 2000."""
    enter, keep, out, new = jnp.split(x + past, 4, axis=-1)
    cell = jax.nn.sigmoid(keep) * state[1] + jax.nn.sigmoid(enter) * jnp.tanh(new)
    return jax.nn.sigmoid(out) * jnp.tanh(cell), cell


class Cell(NamedTuple):
    """A kind of recurrent layer.

    Attributes:
      step: (state, products of the features [N, gates · m], of the output) -> state.
      gates: number of products that each unit has.
      parts: number of arrays of a state.
    """

    step: Callable[[State, Array, Array], State]
    gates: int
    parts: int


CELLS = {"gru": Cell(_gru, 3, 1), "lstm": Cell(_lstm, 4, 2)}


def initial_state(kind: str, size: int, num_envs: Any) -> State:
    """The state at the start of an episode: zeros."""
    return (jnp.zeros((num_envs, size), jnp.float32),) * CELLS[kind].parts


def _by_gate(gates: int) -> Callable[..., Array]:
    """Initialiser with an orthogonal matrix for each gate, beside each other."""

    def init(key: Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Array:
        one = (shape[0], shape[1] // gates)
        keys = jax.random.split(key, gates)
        blocks = [orthogonal(1.0)(key, one, dtype) for key in keys]
        return jnp.concatenate(blocks, axis=-1)

    return init


class Memory(nn.Module):
    """A recurrent layer; it computes in float32."""

    kind: str
    size: int

    @nn.compact
    def __call__(
        self, state: State, features: Array, start: Array
    ) -> tuple[State, Array]:
        """One step of features [N, n], or a sequence of them [T, N, n].

        Args:
          state: [N, m] each, before the first step.
          features: of the observations.
          start: [N] or [T, N]: whether the step begins an episode.

        Returns:
          (state after the step, or after each step; output), with the axes of `start`.
        """
        cell, gates, _ = CELLS[self.kind]
        x = dense(gates * self.size, _by_gate(gates), name="inputs")(features)
        shape = (self.size, gates * self.size)
        kernel = self.param("recurrent", _by_gate(gates), shape)
        bias = self.param("bias", nn.initializers.zeros_init(), shape[1:])

        def step(state: State, inputs: tuple[Array, Array]) -> tuple[State, State]:
            x, start = inputs
            state = tuple(jnp.where(start[:, None], 0.0, part) for part in state)
            state = cell(state, x, state[0] @ kernel + bias[None])
            return state, state

        if start.ndim == 1:
            state, _ = step(state, (x, start))
        else:
            _, state = jax.lax.scan(step, state, (x, start))
        return state, state[0]
