"""Start of JAX: accelerator, threads and the cache of compiled programs."""

import contextlib
import dataclasses
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax

from pgcli.cache import cache_directory
from pgcli.errors import AcceleratorError
from pgcli.training.backend import plugins
from pgcli.versions import set_jax


@dataclass(frozen=True)
class Accelerator:
    """The device of the learner, as recorded in the run.

    Attributes:
      platform: `cpu`, `gpu` or `tpu`.
      kind: name of the device.
      cpu_threads: threads of XLA on the CPU; they determine the bits of an update.
      devices: number of devices used; it also determines these bits.
      processes: number of processes that have these devices; likewise.
    """

    platform: str
    kind: str
    cpu_threads: int
    devices: int = 1
    processes: int = 1

    def fingerprint(self) -> dict[str, Any]:
        """Values that must be equal for an exact resume."""
        values = {**dataclasses.asdict(self), "jax": jax.__version__}
        if self.processes == 1:  # as in runs of older versions
            del values["processes"]
        return values


def start(
    requested: Literal["auto", "cpu", "gpu", "tpu"],
    *,
    host_envs: bool,
    cpu_threads: int,
    cpu_devices: int = 1,
) -> Accelerator:
    """Starts JAX on the requested accelerator.

    Settings that JAX reads once (threads, dispatch) apply to the process: a second run
    in the same process keeps those of the first.

    Args:
      requested: name of the accelerator; `auto` uses the default of JAX.
      host_envs: whether environments run on the host. If so, dispatch is synchronous,
        so that a call does not wait for the dispatch thread.
      cpu_threads: threads of XLA on the CPU.
      cpu_devices: number of devices that the CPU is split into.

    Raises:
      AcceleratorError: it is not available; there is no silent fallback to the CPU.
    """
    plugins.check(requested)
    # settings that must precede the first use of a device
    os.environ.setdefault("PJRT_NPROC", str(cpu_threads))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if host_envs:
        set_jax("jax_cpu_enable_async_dispatch", False)
    if requested == "cpu":
        set_jax("jax_platforms", "cpu")
    if cpu_devices > 1:
        with contextlib.suppress(RuntimeError):  # JAX has started: no change possible
            set_jax("jax_num_cpu_devices", cpu_devices)
    _enable_cache()

    devices = find_devices(requested)
    # the first one of this process, if there are several processes
    device = next(d for d in devices if d.process_index == jax.process_index())
    set_jax("jax_default_device", device)
    return Accelerator(
        device.platform, device.device_kind, int(os.environ["PJRT_NPROC"]), len(devices)
    )


def find_devices(requested: str = "auto") -> list[jax.Device]:
    """The devices of an accelerator.

    Raises:
      AcceleratorError: it is not available.
    """
    log = logging.getLogger("jax._src.xla_bridge")
    log.addFilter(_in_one_line)
    try:
        return list(jax.devices(None if requested == "auto" else requested))
    except (RuntimeError, AssertionError) as error:  # no plugin for JAX_PLATFORMS
        raise _missing(requested, error) from None
    finally:
        log.removeFilter(_in_one_line)


def _in_one_line(record: logging.LogRecord) -> bool:
    """Shortens JAX's message about a plugin that fails, which has a traceback."""
    if record.exc_info:
        reason = str(record.exc_info[1]).partition("\n")[0]
        record.msg = f"warning: {record.getMessage()}: {reason}"
        record.args, record.exc_info = (), None
    return True


def _missing(requested: str, error: Exception) -> AcceleratorError:
    """The error for an accelerator that JAX cannot start, with a remedy."""
    help = plugins.remedy(requested)
    forced = os.environ.get("JAX_PLATFORMS", "")
    names = {"gpu", "cuda", "rocm"} if requested == "gpu" else {requested}
    if forced and names.isdisjoint(forced.split(",")):
        help = f"JAX_PLATFORMS={forced} is set and excludes it; unset JAX_PLATFORMS"
    reason = str(error).partition("\n")[0] or "JAX finds no device"
    return AcceleratorError(
        f"accelerator `{requested}` is not available: {reason}", help=help
    )


def programs_directory() -> Path | None:
    """Directory of the compilation cache; None if it is switched off."""
    directory = cache_directory()
    return None if directory is None else directory / "xla"


def _enable_cache() -> None:
    """Switches on the compilation cache, unless the user has chosen another one."""
    directory = programs_directory()
    if directory is None or os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    # programs of any size that took 0.1 s to compile; at most 1 GiB in total
    set_jax("jax_compilation_cache_dir", str(directory))
    set_jax("jax_persistent_cache_min_compile_time_secs", 0.1)
    set_jax("jax_persistent_cache_min_entry_size_bytes", -1)
    set_jax("jax_compilation_cache_max_size", 2**30)
