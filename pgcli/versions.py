"""Behaviour that depends on the version of Python or of a library, with fallbacks.

Differences between versions are handled only here, so that supporting a new release
means reading one file. Options of XLA are used only with versions known to accept
them: XLA ends the process on an unknown option.
"""

import contextlib
import functools
import importlib.metadata
import platform
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

TESTED: Mapping[str, tuple[str, str]] = {
    "python": ("3.11", "3.13"),
    "jax": ("0.10", "0.12"),
    "flax": ("0.12", "0.12"),
    "optax": ("0.2", "0.2"),
    "numpy": ("2.4", "2.5"),
    "gymnasium": ("1.3", "1.4"),
    "pydantic": ("2.14", "2.14"),
    "typer": ("0.29", "0.29"),
}
"""(oldest, newest) series that the test suite has passed with."""

RECORDED = ("pgcli-jax", "jax", "jaxlib", "flax", "optax", "numpy", "gymnasium")
"""Distributions whose versions are recorded in every run and checkpoint."""

XLA_OPTIONS: Mapping[str, tuple[str, str]] = {
    "xla_force_host_platform_device_count": ("0.10", "0.12"),
    "xla_backend_optimization_level": ("0.10", "0.12"),
    "xla_cpu_parallel_codegen_split_count": ("0.10", "0.12"),
    "xla_cpu_use_fusion_emitters": ("0.10", "0.10"),
    "xla_backend_extra_options": ("0.11", "0.11"),  # without effect in 0.12
    "xla_cpu_prefer_vector_width": ("0.10", "0.12"),
}
"""(oldest, newest) series of jaxlib that accept an option of XLA."""

CLUSTER_SECONDS = 60
"""Time limit for the detection of a cluster."""

PYDANTIC_UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
"""Types of pydantic's error for an unknown key."""

TYPER_NO_VALUE = "not take a value"
TYPER_EXTRA_ARGUMENT = "extra argument"
"""Parts of Typer's messages; if a message contains none, it is shown unchanged."""

GYMNASIUM_CREATOR = " was raised from the environment creator"
"""Text that Gymnasium puts between a constructor's TypeError and a hint."""

FOUR_VALUES = "not enough values to unpack (expected 5, got 4)"
UNKNOWN_ARGUMENT = "got an unexpected keyword argument "
"""Parts of Python's messages; an error without them is shown unchanged."""

PYTHON_HINT = ". Did you mean "
"""Start of the hint at the end of a TypeError in Python 3.13; earlier: no hint."""


def _series(version: str) -> tuple[int, ...]:
    """The first two numbers of a version: (0, 12) of "0.12.0.1"."""
    numbers = [part for part in version.split(".")[:2] if part.isdigit()]
    return tuple(int(part) for part in numbers)


def _within(version: str, oldest: str, newest: str) -> bool:
    return _series(oldest) <= _series(version) <= _series(newest)


@functools.cache
def installed(distribution: str) -> str | None:
    """Version of a distribution, or of `python`; None if it is not installed."""
    if distribution == "python":
        return platform.python_version()
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def recorded() -> Mapping[str, str]:
    """Versions that a run records, by distribution; missing ones are left out."""
    versions = {name: installed(name) for name in ("python", *RECORDED)}
    return {name: version for name, version in versions.items() if version is not None}


def untested() -> dict[str, str]:
    """Installed versions outside the tested range -> that range, in words."""
    return {
        f"{name} {version}": f"{oldest} to {newest}" if oldest != newest else oldest
        for name, (oldest, newest) in TESTED.items()
        if (version := installed(name)) and not _within(version, oldest, newest)
    }


def known_to_xla(option: str) -> bool:
    """Whether the installed XLA accepts an option, a key of `XLA_OPTIONS`."""
    return _within(installed("jaxlib") or "", *XLA_OPTIONS[option])


def compiler_options(**options: bool | int | str) -> dict[str, bool | int | str]:
    """The given options of `jax.jit`, of `XLA_OPTIONS`, that the installed XLA accepts.

    XLA refuses to compile with an unknown option.
    """
    return {name: value for name, value in options.items() if known_to_xla(name)}


def set_jax(name: str, value: Any) -> None:
    """Sets an option of JAX; does nothing if this version does not have it."""
    import jax

    with contextlib.suppress(AttributeError):
        jax.config.update(name, value)  # type: ignore[no-untyped-call]


def make_mesh(shape: tuple[int, ...], names: tuple[str, ...], devices: Any) -> Any:
    """A mesh of devices with axes that the compiler shards.

    The first parameter of `jax.make_mesh` is `axis_shapes` in JAX 0.10 and `axis_sizes`
    in 0.12, so it is passed by position. The default type of the axes also differs.
    """
    import jax
    from jax.sharding import AxisType

    types = (AxisType.Auto,) * len(shape)
    return jax.make_mesh(shape, names, axis_types=types, devices=devices)


def detect_cluster() -> tuple[str, int, int, tuple[int, ...] | None] | None:
    """(address of process 0, processes, index of this one, its accelerators), or None.

    JAX detects clusters only inside `jax.distributed.initialize`, which would wait for
    the other processes; its detection alone has no public name.
    """
    from jax._src.clusters import ClusterEnv

    found = ClusterEnv.auto_detect_unset_distributed_params(
        None, None, None, None, None, CLUSTER_SECONDS
    )
    coordinator, count, index, local = found
    if coordinator is None or count is None or index is None:
        return None
    return coordinator, count, index, None if local is None else tuple(local)


@contextlib.contextmanager
def jax_distributed(service: Callable[..., Any], own_address: str) -> Iterator[None]:
    """A block in which `jax.distributed` works as a run on several processes needs it.

    JAX has no public name for any of it: its coordination service is made by `service`
    instead of inside process 0; clients do not wait for the others when they are
    destroyed; and collectives of CPUs use the address of the machine that the others
    can reach, not that of its name. A version without these functions is left as it is.

    Args:
      service: makes the service, as `get_distributed_runtime_service` does.
      own_address: address of this machine.
    """
    from jax._src.lib import _jax  # type: ignore[attr-defined]

    changed: dict[str, Callable[[Any], Any]] = {
        "get_distributed_runtime_service": lambda _: service,
        "get_distributed_runtime_client": lambda make: functools.partial(
            make, shutdown_on_destruction=False
        ),
        "make_gloo_tcp_collectives": lambda make: functools.partial(
            make, hostname=own_address
        ),
    }
    before = {name: getattr(_jax, name) for name in changed if hasattr(_jax, name)}
    for name, function in before.items():
        setattr(_jax, name, changed[name](function))
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(_jax, name, function)


def abandon_jax_distributed() -> None:
    """Keeps JAX from waiting for the other processes at the end of this one.

    It would wait, and then abort this one if another is lost.
    """
    from jax._src import distributed

    state = distributed.global_state
    _ABANDONED.extend([state.client, state.service])
    state.client = state.service = None


_ABANDONED: list[Any] = []


NOT_KEPT = (
    AttributeError,
    ImportError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Errors of the following functions if a version of JAX has other names."""


class Arrays(NamedTuple):
    """Arguments or results of a program."""

    tree: Any
    avals: Any  # of the leaves: shapes and dtypes
    shardings: Any  # of the leaves


def executable(lowered: Any) -> tuple[Any, bytes]:
    """(result of `lowered.compile()`, data for `load_executable`).

    The program is compiled here and now: XLA writes those that it has loaded from JAX's
    cache without their functions, and JAX also returns programs that it has compiled
    or loaded before.

    Args:
      lowered: result of `jax.jit(…).lower(…)`.
    """
    from jax._src import compilation_cache
    from jax._src.config import enable_compilation_cache

    _watch_compilation()
    _events.names = set()
    compilation_cache.reset_cache()  # JAX chooses once, and for all threads
    try:
        with enable_compilation_cache(False):
            compiled = lowered.compile()
    finally:
        compilation_cache.reset_cache()
    if _FROM_CACHE in _events.names or _COMPILED not in _events.names:
        raise RuntimeError("the program is not compiled, but from a cache of JAX")
    if compiled._params.const_args:
        raise NotImplementedError("constants are arguments of the program")
    return compiled, compiled.runtime_executable().serialize()


_COMPILED = "/jax/core/compile/backend_compile_duration"
_FROM_CACHE = "/jax/compilation_cache/compile_requests_use_cache"
_events = threading.local()


@functools.cache
def _watch_compilation() -> None:
    """Makes JAX add what it does to `_events.names` of the thread that does it."""
    import jax

    def note(event: str, *_: Any, **__: Any) -> None:
        if hasattr(_events, "names"):
            _events.names.add(event)

    jax.monitoring.register_event_listener(note)
    jax.monitoring.register_event_duration_secs_listener(note)


def load_executable(data: bytes, inputs: Arrays, results: Arrays, devices: Any) -> Any:
    """An executable of another process, as `lowered.compile()` had returned it.

    JAX has a public function for this, which reads pickles.

    Args:
      data: the executable, which uses all of its arguments.
      inputs: its arguments.
      results: its results.
      devices: the devices that it was compiled for, in their order.
    """
    import jax
    from jax._src.interpreters.pxla import UnloadedMeshExecutable
    from jax._src.lib import xla_client  # type: ignore[attr-defined]

    client, places = devices[0].client, xla_client.DeviceList(tuple(devices))
    count = len(inputs.avals)
    numbers = jax.tree.unflatten(inputs.tree, range(count))  # only the tree is used
    executable = UnloadedMeshExecutable(
        xla_executable=client.deserialize_executable(data, places),
        device_list=places,
        backend=client,
        input_avals=inputs.avals,
        input_shardings=inputs.shardings,
        output_avals=results.avals,
        output_shardings=results.shardings,
        committed=len(devices) > 1,
        name="kept",
        unordered_effects=[],
        ordered_effects=[],
        keepalive=(),
        host_callbacks=(),
        kept_var_idx=set(range(count)),
        mut=None,
        # None: default layouts
        xla_in_layouts=[None] * count,
        dispatch_in_layouts=[None] * count,
        xla_out_layouts=[None] * len(results.avals),
        all_args_info=None,
        pgle_profiler=None,
    )
    return jax.stages.Compiled(
        executable.load(), [], (numbers, {}), results.tree, no_kwargs=True
    )
