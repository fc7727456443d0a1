"""`pgcli doctor`: a report on this machine and installation, and any problems."""

import importlib.metadata
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pgcli import versions
from pgcli.errors import AcceleratorError
from pgcli.extras import DISTRIBUTION, pip_install

VARIABLES = (
    "JAX_PLATFORMS",
    "XLA_FLAGS",
    "PJRT_NPROC",
    "PGCLI_CACHE",
    "JAX_COMPILATION_CACHE_DIR",
    "CUDA_VISIBLE_DEVICES",
    "NO_COLOR",
)
"""Environment variables that change the behaviour of JAX or pgcli."""


_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:\[([^\]]*)\])?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


def examine(runs_dir: Path) -> dict[str, Any]:
    """The report on this machine, with stable keys.

    The keys are `ok, devices, cores, machine, versions, untested, extras, cache, runs,
    environment, warnings`. `warnings` has one text per problem, with its remedy. `ok`
    is false if JAX finds no device, so that training is impossible.

    Args:
      runs_dir: the directory of runs.
    """
    # before the line below adds a variable of our own
    seen = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    # the report must not allocate the memory of a GPU
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    from pgcli.training import machine
    from pgcli.training.backend import accelerator, layout

    # a device is needed for training; everything else only causes warnings
    devices, problem = _devices()
    cache = (
        os.environ.get("JAX_COMPILATION_CACHE_DIR") or accelerator.programs_directory()
    )
    report = {
        "ok": problem is None,
        "devices": devices,
        "cores": layout.cores(),
        "machine": machine.describe(),
        "versions": dict(versions.recorded()),
        "untested": versions.untested(),
        "extras": extras(),
        "cache": _cache(Path(cache)) if cache else None,
        "runs": {"path": str(runs_dir), "writable": _is_writable(runs_dir)},
        "environment": seen,
    }
    return {**report, "warnings": list(_warnings(report, problem))}


def _devices() -> tuple[list[dict[str, Any]], str | None]:
    """(platform, kind and number of JAX's devices, reason if there are none)."""
    from pgcli.training.backend import accelerator

    try:
        accelerator.start("auto", host_envs=False, cpu_threads=os.cpu_count() or 1)
    except AcceleratorError as error:
        return [], error.message
    import jax

    count = Counter((device.platform, device.device_kind) for device in jax.devices())
    return [
        {"platform": platform, "kind": kind, "count": number}
        for (platform, kind), number in count.items()
    ], None


def extras() -> dict[str, list[str]]:
    """Every extra of this distribution with its missing packages.

    Extras of other distributions are followed: `gymnasium[mujoco]` is missing if a
    requirement of that extra is.
    """
    try:
        metadata = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return {}
    names = metadata.get_all("Provides-Extra") or []
    return {name: sorted(set(_missing(DISTRIBUTION, name, set()))) for name in names}


def _missing(distribution: str, extra: str, seen: set[Any]) -> Iterator[str]:
    """Packages of an extra of a distribution that are not installed."""
    if (distribution, extra) in seen:
        return
    seen.add((distribution, extra))
    for text in importlib.metadata.requires(distribution) or []:
        # `name[extras]…; extra == "…"`, as in the metadata of a wheel
        condition = _EXTRA.search(text)
        parts = _REQUIREMENT.match(text)
        if condition is None or condition[1] != extra or parts is None:
            continue
        if "python_version" in text or "sys_platform" in text:
            continue  # not required on every machine
        name = parts[1]
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield name
            continue
        # an installed requirement may itself be named with extras
        for inner in filter(None, (parts[2] or "").split(",")):
            yield from _missing(name, inner.strip(), seen)


def _environment_extras() -> set[str]:
    """Extras that install environments."""
    from pgcli.envs.registry import DEVICE_BACKENDS, EXTRAS

    ours = {backend.extra for backend in DEVICE_BACKENDS.values() if backend.extra}
    return ours | {extra for extra, _ in EXTRAS.values()} | {"envpool"}


def _cache(directory: Path) -> dict[str, Any]:
    files = [p for p in directory.glob("*") if p.is_file()]
    return {
        "path": str(directory),
        "programs": sum(p.name.endswith("-cache") for p in files),
        "bytes": sum(p.stat().st_size for p in files),
        "writable": _is_writable(directory),
    }


def _is_writable(directory: Path) -> bool:
    """Whether files can be created in a directory, or the directory itself."""
    for path in (directory, *directory.absolute().parents):
        if path.exists():
            return path.is_dir() and os.access(path, os.W_OK)
    return False


def _warnings(report: dict[str, Any], problem: str | None) -> Iterator[str]:
    # the accelerator
    if problem is not None:
        yield f"JAX finds no device to train on: {problem}"
    platforms = {device["platform"] for device in report["devices"]}
    if shutil.which("nvidia-smi") and "gpu" not in platforms:
        yield (
            "an NVIDIA driver is installed, but JAX sees no GPU: "
            f"{pip_install('cuda13')} (or cuda12)"
        )
    # the installation, the cache of compiled programs, and the directory of runs
    if lacking := _environment_extras() - report["extras"].keys():
        yield (
            "the installation is older than the code and lacks the extras "
            f"{', '.join(sorted(lacking))}: reinstall {DISTRIBUTION}"
        )
    if report["cache"] is None:
        yield "the compilation cache is off: every run compiles again"
    elif not report["cache"]["writable"]:
        yield (
            f"the compilation cache {report['cache']['path']} is not writable: "
            "set PGCLI_CACHE to a writable directory"
        )
    for name, range in report["untested"].items():
        yield f"{name} is outside the versions that pgcli was tested with: {range}"
    if not report["runs"]["writable"]:
        yield f"{report['runs']['path']} is not writable: choose another --runs-dir"
