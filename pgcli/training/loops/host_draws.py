"""Random numbers of several iterations at once: calls cost more than small numbers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pgcli.arrays.fetch import fetch
from pgcli.arrays.jitted import Jit
from pgcli.arrays.shapes import Array
from pgcli.arrays.shared import shared
from pgcli.envs.obs_trees import rows
from pgcli.rollout.host_collector import rollout_noise
from pgcli.training.step import Setup, iteration_keys

SAMPLES, MOST = 4096, 64
"""Samples that numbers are drawn for at once, and the largest number of iterations."""


def _program(setup: Setup, count: int, jit: Jit) -> Callable[..., Any]:
    noise = rollout_noise(setup.policy, setup.spec.obs, setup.columns, setup.num_steps)

    def draw(run_key: Array, first: Array) -> tuple[Any, Array]:
        def of(iteration: Array) -> tuple[Any, Array]:
            collect_key, update_key = iteration_keys(run_key, iteration)
            return noise(collect_key), jax.random.key_data(update_key)

        return jax.vmap(of)(first + jnp.arange(count, dtype=jnp.uint32))

    jitted: Callable[..., Any] = jit(draw, f"numbers of {count} iterations")
    return jitted


class HostDraws:
    """Noise and update keys of a run that collects steps."""

    def __init__(self, setup: Setup, run_key: Array, jit: Jit) -> None:
        """Draws nothing yet."""
        samples = setup.num_steps * setup.columns
        self._count = min(max(SAMPLES // samples, 1), MOST)
        self._draw = shared(_program, setup, self._count, jit)
        self._run_key = run_key
        self._first = -1
        self._drawn: Any = None

    def __call__(self, iteration: int) -> tuple[tuple[None, Any], np.ndarray]:
        """((no key, noise [T, N, …]), words of the update key) of an iteration."""
        first = iteration - iteration % self._count
        if first != self._first:
            self._drawn = fetch(self._draw(self._run_key, np.uint32(first)))
            self._first = first
        noise, words = self._drawn
        return (None, rows(noise, iteration - first)), words[iteration - first]
