"""The first touch of a device: which one, its threads, where programs are cached."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax

from pgcli.cache import cache_directory
from pgcli.errors import AcceleratorError
from pgcli.versions import set_jax


@dataclass(frozen=True)
class Accelerator:
    """What the learner runs on, as recorded in the run.

    Attributes:
      platform: `cpu`, `gpu` or `tpu`.
      kind: the device's own name.
      cpu_threads: threads of XLA on the CPU; they determine the bits of an update.
      devices: how many of them take part; they too determine those bits.
    """

    platform: str
    kind: str
    cpu_threads: int
    devices: int = 1

    def fingerprint(self) -> dict[str, Any]:
        """What a resumed run must share to go on bit for bit."""
        return {
            "platform": self.platform,
            "kind": self.kind,
            "cpu_threads": self.cpu_threads,
            "devices": self.devices,
            "jax": jax.__version__,
        }


def start(
    requested: Literal["auto", "cpu", "gpu", "tpu"],
    *,
    host_envs: bool,
    cpu_threads: int,
    cpu_devices: int = 1,
) -> Accelerator:
    """Starts JAX on the requested accelerator.

    Settings that JAX reads once (threads, dispatch) hold for the process: a second run
    in one process keeps those of the first.

    Args:
      requested: `auto` takes what JAX finds.
      host_envs: environments step on the host, so that a call must not wait for a
        dispatch thread.
      cpu_threads: threads of XLA on the CPU.
      cpu_devices: how many devices the CPU is to be, where it is what is used.

    Raises:
      AcceleratorError: it is not there; nothing falls back to the CPU silently.
    """
    os.environ.setdefault("PJRT_NPROC", str(cpu_threads))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if host_envs:
        set_jax("jax_cpu_enable_async_dispatch", False)
    if requested == "cpu":
        set_jax("jax_platforms", "cpu")
    if cpu_devices > 1:
        with contextlib.suppress(RuntimeError):  # JAX has started: it keeps what it has
            set_jax("jax_num_cpu_devices", cpu_devices)
    _enable_cache()
    try:
        devices = jax.devices(None if requested == "auto" else requested)
    except RuntimeError as error:
        raise _missing(requested, error) from None
    device = devices[0]
    set_jax("jax_default_device", device)
    return Accelerator(
        device.platform,
        device.device_kind,
        int(os.environ["PJRT_NPROC"]),
        len(devices),
    )


def _missing(requested: str, error: Exception) -> AcceleratorError:
    forced = os.environ.get("JAX_PLATFORMS")
    help = {
        "gpu": "install the CUDA build, pip install 'pgcli-jax[cuda13]' (or cuda12), "
        "or use --accelerator cpu",
        "tpu": "install 'pgcli-jax[tpu]' on a TPU machine, or use --accelerator cpu",
    }.get(requested, "unset JAX_PLATFORMS")
    if forced:
        help = f"JAX_PLATFORMS={forced} is set and excludes it; {help}"
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return AcceleratorError(
        f"accelerator `{requested}` is not available: {reason}", help=help
    )


def programs_directory() -> Path | None:
    """Where compiled programs are kept between processes; None if switched off."""
    directory = cache_directory()
    return None if directory is None else directory / "xla"


def _enable_cache() -> None:
    directory = programs_directory()
    if directory is None or os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    set_jax("jax_compilation_cache_dir", str(directory))
    set_jax("jax_persistent_cache_min_compile_time_secs", 0.1)
    set_jax("jax_persistent_cache_min_entry_size_bytes", -1)
    set_jax("jax_compilation_cache_max_size", 2**30)
