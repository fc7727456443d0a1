"""Jitted functions whose compiled programs are kept for later processes.

A program that an earlier process has kept is neither traced nor lowered nor compiled.
"""

import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax

from pgcli import versions
from pgcli.arrays import random_keys
from pgcli.arrays.device_mesh import on_cpu
from pgcli.training import timing
from pgcli.training.programs import results, store
from pgcli.training.programs.key import program_key
from pgcli.training.programs.results import is_key

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
        self, function: Run, name: str, described: Any, **options: Any
    ) -> None:
        """Compiles nothing yet.

        Args:
          function: the function.
          name: which program of a run.
          described: what shapes the program besides its arguments
            (`key.description`); None to compile it in every process.
          options: arguments of `jax.jit`.
        """
        self._plain = jax.jit(function, keep_unused=True, **options)
        self._about = name, described, sorted(options.items())
        self.may_prepare = on_cpu() and jax.process_count() == 1
        is_kept = described is not None and self.may_prepare
        self._directory = store.directory() if is_kept else None
        self._stored: dict[Path, store.Stored | None] = {}
        self._programs: dict[Any, Future[Run]] = {}

    def __call__(self, *arguments: Any) -> Any:
        """The result of the function."""
        if not self.may_prepare:
            return self._plain(*arguments)
        program = self.prepare(*arguments)
        # waiting counts as compilation; an error is raised by `result`
        if not program.done():
            with timing.waiting():
                program.exception()
        return program.result()(*arguments)

    def eval_shape(self, *arguments: Any) -> Any:
        """Shapes of the result."""
        stored = self._read(self._path(arguments))
        return stored.result if stored else jax.eval_shape(self._plain, *arguments)

    def lower(self, *arguments: Any) -> Any:
        """The lowered program, to be compiled by the caller; it is not kept."""
        return self._plain.lower(*arguments)

    def prepare(self, *arguments: Any) -> "Future[Run]":
        """The program, which is traced here and compiled or loaded in a thread.

        Args:
          arguments: arguments of a later call, or their shapes.
        """
        leaves, tree = jax.tree.flatten(arguments)
        shapes = tree, *map(jax.typeof, leaves)
        if shapes not in self._programs:
            path = self._path(arguments)
            stored = self._read(path)
            self._programs[shapes] = (
                _COMPILER.submit(_load, stored, self._plain)
                if stored
                else _COMPILER.submit(_compile, self.lower(*arguments), path)
            )
        return self._programs[shapes]

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


def _load(stored: store.Stored, otherwise: Run) -> Run:
    try:
        run = versions.load_executable(stored.executable)
    except versions.NOT_KEPT:
        # it cannot be loaded: the first call compiles it
        return otherwise
    return _of_trees(run, stored.result)


def _compile(lowered: Any, path: Path | None) -> Run:
    if path is not None:
        with contextlib.suppress(TypeError, *versions.NOT_KEPT):
            described = results.to_json(lowered.out_info)
            run, data = versions.executable(lowered)
            store.write(path, described, data)
            return _of_trees(run, lowered.out_info)
    compiled: Run = lowered.compile()
    return compiled


def _of_trees(run: Run, result: Any) -> Run:
    """A function of arrays as one of trees, in which random keys are keys."""
    leaves, tree = jax.tree.flatten(result)
    keys = [is_key(leaf) for leaf in leaves]

    def call(*arguments: Any) -> Any:
        # executables take and return flat lists of arrays, random keys as words
        arrays = jax.device_put([_words(x) for x in jax.tree.leaves(arguments)])
        outputs = [
            random_keys.as_keys(x) if key else x
            for x, key in zip(run(arrays), keys, strict=True)
        ]
        return jax.tree.unflatten(tree, outputs)

    return call


def _words(x: Any) -> Any:
    """An array, or the words of random keys."""
    return jax.random.key_data(x) if is_key(jax.typeof(x)) else x
