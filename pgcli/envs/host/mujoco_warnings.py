"""What libraries print while an environment is made, and nobody can act on."""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from typing import Any

HARMLESS = ("compiler attribute 'settotalmass' is deprecated",)
"""How such warnings begin: Gymnasium's own models cause this one, one per model."""


@contextlib.contextmanager
def quiet_mujoco(used: bool) -> Iterator[None]:
    """Keeps MuJoCo's harmless warnings off the terminal, and out of its log file.

    All others are printed, and outside the block MuJoCo does what it always does.

    Args:
      used: whether MuJoCo is what is about to be used.
    """
    mujoco: Any = importlib.import_module("mujoco") if used else None
    if not hasattr(mujoco, "set_mju_user_warning"):
        yield
        return
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(_warn)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


def _warn(message: str) -> None:
    if not message.startswith(HARMLESS):
        sys.stderr.write(f"MuJoCo: {message}\n")
