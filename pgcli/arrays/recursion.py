"""Recursions over time with little arithmetic per step, such as returns."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax

from pgcli.arrays.device_mesh import on_cpu

State = TypeVar("State")
Out = TypeVar("Out")

UNROLLED = 16
"""Steps per iteration of the loop on an accelerator, where XLA launches several kernels
for each iteration; on the CPU an iteration costs next to nothing.
"""


def recur(
    step: Callable[[State, Any], tuple[State, Out]],
    first: State,
    inputs: Any,
    *,
    reverse: bool = False,
) -> tuple[State, Out]:
    """`jax.lax.scan` over inputs [T, …], for steps of a few operations."""
    unroll = 1 if on_cpu() else UNROLLED
    result: tuple[State, Out] = jax.lax.scan(
        step, first, inputs, reverse=reverse, unroll=unroll
    )
    return result
