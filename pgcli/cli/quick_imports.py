"""Imports of JAX without the garbage collector."""

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """A block that imports JAX; its modules are never searched for garbage.

    The collector would visit all their objects several times during the imports and at
    the end of the process, which takes as long as half of the imports. A process that
    has imported JAX before is left as it is.
    """
    if "jax" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
