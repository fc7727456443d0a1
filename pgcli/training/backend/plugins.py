"""Accelerators that JAX can start, as far as it is known without importing it."""

import importlib.metadata
import importlib.util
import os
from typing import Literal

from pgcli.errors import AcceleratorError
from pgcli.extras import pip_install

DRIVERS = {
    "gpu": "no GPU: `nvidia-smi` must list it, and CUDA's libraries must be installed",
    "tpu": "no TPU on this machine",
}
"""Platforms that need a plugin, and what is missing if the plugin is there."""


def installed(platform: str) -> bool:
    """Whether a plugin of JAX for the platform may be installed."""
    if platform == "tpu":
        named = "TPU_LIBRARY_PATH" in os.environ
        return named or importlib.util.find_spec("libtpu") is not None
    plugins = importlib.metadata.entry_points(group="jax_plugins")
    return bool(plugins) or importlib.util.find_spec("jax_plugins") is not None


def remedy(platform: str) -> str | None:
    """The remedy for a platform that is not available; None for the CPU."""
    otherwise = "or use --accelerator cpu"
    if platform in DRIVERS and installed(platform):
        return f"JAX's plugin is installed and finds {DRIVERS[platform]}, {otherwise}"
    if platform == "gpu":
        install = pip_install("cuda13")
        return f"install the CUDA build, {install} (or cuda12), {otherwise}"
    if platform == "tpu":
        return f"{pip_install('tpu')} on a TPU machine, {otherwise}"
    return None


def check(requested: Literal["auto", "cpu", "gpu", "tpu"]) -> None:
    """Checks that the requested accelerator has a plugin.

    Raises:
      AcceleratorError: there is none.
    """
    if requested in DRIVERS and not installed(requested):
        raise AcceleratorError(
            f"accelerator `{requested}` is not available: JAX has no plugin for it",
            help=remedy(requested),
        )
