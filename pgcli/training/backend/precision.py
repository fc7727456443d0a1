"""JAX in 32 bits, whatever the user's settings are.

`JAX_ENABLE_X64=1`, or a module of the user that switches it on, changes the dtypes of
arrays in the whole process; `JAX_DEBUG_NANS=1` makes errors of values that are expected
here, such as the mean return before the first episode ends. Environments that this
process steps keep the user's precision (`pgcli.envs.make`).
"""

import contextlib
from collections.abc import Iterator

import jax


@contextlib.contextmanager
def in_32_bits() -> Iterator[None]:
    """A context, or a decorator, for JAX code of ours; it affects this thread only."""
    with jax.enable_x64(False), jax.debug_nans(False), jax.debug_infs(False):
        yield
