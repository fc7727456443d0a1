"""How the rooms above may replace `jax.jit`, to keep compiled programs."""

from collections.abc import Callable
from typing import Any

import jax

Jit = Callable[..., Any]
"""(function, name, options of `jax.jit`) -> the jitted function."""


def plain_jit(function: Callable[..., Any], _: str, **options: Any) -> Any:
    """`jax.jit`; the name is not used."""
    return jax.jit(function, **options)
