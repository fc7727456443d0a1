"""Jitted functions whose compiled programs are kept for later processes.

A program that an earlier process has kept is neither traced nor lowered nor compiled.
"""

import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh, SingleDeviceSharding

from pgcli import versions
from pgcli.arrays.device_mesh import on_cpu
from pgcli.training import timing
from pgcli.training.programs import results, store
from pgcli.training.programs.key import placed, program_key

Run = Callable[..., Any]

_COMPILER = ThreadPoolExecutor(1, "compiler", timing.ignore_this_thread)
"""One thread, so that programs are ready in the order in which they are needed."""


class Kept:
    """A jitted function that can be compiled before it is called, and is kept.

    Attributes:
      may_prepare: whether it can be compiled before; on accelerators and with several
        processes, it is compiled by its first call.
    """

    def __init__(
        self,
        function: Run,
        name: str,
        described: str | None,
        mesh: Mesh | None = None,
        **options: Any,
    ) -> None:
        """Compiles nothing yet.

        Args:
          function: the function.
          name: which program of a run.
          described: what shapes the program besides its arguments
            (`key.description`); None to compile it in every process.
          mesh: the devices that it is compiled for; None for a single one.
          options: arguments of `jax.jit`.
        """
        self._plain = jax.jit(function, keep_unused=True, **options)
        self._mesh = mesh
        self._about = name, described, placed(mesh), sorted(options.items())
        self.may_prepare = on_cpu() and jax.process_count() == 1
        is_kept = described is not None and self.may_prepare
        self._directory = store.directory() if is_kept else None
        self._stored: dict[Path, store.Stored | None] = {}
        self._programs: dict[Any, Future[Run]] = {}
        self._last: Run | None = None

    def __call__(self, *arguments: Any) -> Any:
        """The result of the function."""
        if not self.may_prepare:
            return self._plain(*arguments)
        # programs refuse arguments of other shapes than theirs
        if self._last is not None:
            with contextlib.suppress(TypeError):
                return self._last(*arguments)
        program = self.prepare(*arguments)
        # waiting counts as compilation; an error is raised by `result`
        if not program.done():
            with timing.waiting():
                program.exception()
        self._last = program.result()
        return self._last(*arguments)

    def eval_shape(self, *arguments: Any) -> Any:
        """Shapes of the result."""
        stored = self._read(self._path(arguments))
        if stored is None:
            return jax.eval_shape(self._plain, *arguments)
        return results.from_json(stored.described["result"], self._mesh)

    def lower(self, *arguments: Any) -> Any:
        """The lowered program, to be compiled by the caller; it is not kept."""
        return self._plain.lower(*arguments)

    def prepare(self, *arguments: Any) -> "Future[Run]":
        """The program, which is traced here and compiled or loaded in a thread.

        Args:
          arguments: arguments of a later call, or their shapes.
        """
        leaves, tree = jax.tree.flatten(arguments)
        avals = tuple(map(jax.typeof, leaves))
        if (tree, avals) not in self._programs:
            path = self._path(arguments)
            stored = self._read(path)
            if stored is None:
                traced = self._plain.trace(*arguments)
                job = _COMPILER.submit(_compile, traced.lower(), traced.out_info, path)
            else:
                job = _COMPILER.submit(
                    _load, stored, tree, avals, self._mesh, self._plain
                )
            self._programs[tree, avals] = job
        return self._programs[tree, avals]

    def _path(self, arguments: tuple[Any, ...]) -> Path | None:
        if self._directory is None:
            return None
        return self._directory / program_key(self._about, arguments)

    def _read(self, path: Path | None) -> store.Stored | None:
        if path is None:
            return None
        if path not in self._stored:
            self._stored[path] = store.read(path)
        return self._stored[path]


@dataclass(frozen=True)
class Keeper:
    """A `Jit` whose programs are kept; arguments as of `Kept`."""

    described: str | None
    mesh: Mesh | None = None

    def __call__(self, function: Run, name: str, **options: Any) -> Kept:
        """A program of the run."""
        return Kept(function, name, self.described, self.mesh, **options)


def _load(
    stored: store.Stored, tree: Any, avals: Any, mesh: Mesh | None, otherwise: Run
) -> Run:
    if mesh is None:
        device = jax.config.jax_default_device or jax.devices()[0]  # type: ignore[attr-defined]
        devices, single = [device], SingleDeviceSharding(device)
    else:
        devices, single = list(mesh.devices.flat), None
    try:
        specs = stored.described["inputs"]
        places = [results.sharding_of(spec, mesh) or single for spec in specs]
        result = results.from_json(stored.described["result"], mesh)
        leaves = jax.tree.leaves(result)
        run: Run = versions.load_executable(
            stored.executable,
            versions.Arrays(tree, avals, places),
            versions.Arrays(
                jax.tree.structure(result),
                [jax.typeof(x) for x in leaves],
                [x.sharding or single for x in leaves],
            ),
            devices,
        )
        return run
    except versions.NOT_KEPT:
        # it cannot be loaded: the first call compiles it
        return otherwise


def _compile(lowered: Any, result: Any, path: Path | None) -> Run:
    compiled: Run
    if path is not None:
        with contextlib.suppress(*versions.NOT_KEPT):
            # results of other types are not kept
            results.to_json(result)
            compiled, data = versions.executable(lowered)
            store.write(path, _described(compiled, result), data)
            return compiled
    compiled = lowered.compile()
    return compiled


def _described(compiled: Any, result: Any) -> Any:
    """Arguments and results of a program as JSON, or a TypeError."""
    inputs, _ = compiled.input_shardings
    placed = jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(  # type: ignore[no-untyped-call]
            x.shape, x.dtype, weak_type=x.weak_type, sharding=sharding
        ),
        result,
        compiled.output_shardings,
    )
    return {
        "inputs": [results.spec_of(each) for each in jax.tree.leaves(inputs)],
        "result": results.to_json(placed),
    }
