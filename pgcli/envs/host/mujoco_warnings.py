"""Suppression of harmless warnings that MuJoCo prints while it makes a model."""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from typing import Any

HARMLESS = ("compiler attribute 'settotalmass' is deprecated",)
"""Prefixes of such warnings. Gymnasium's own models cause this one."""


@contextlib.contextmanager
def quiet_mujoco(used: bool) -> Iterator[None]:
    """A context that suppresses harmless warnings, also in MuJoCo's log file.

    All others are printed. The previous handler is restored afterwards. MuJoCo is
    imported only if it is `used`.
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
