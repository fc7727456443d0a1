"""One policy to one file: a draft is written, compared, and then renamed."""

import importlib.util
import shutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pgcli.errors import UsageError
from pgcli.export.policy import (
    ExportedPolicy,
    ExportError,
    exported_policy,
    outputs_of,
    sample_inputs,
)
from pgcli.extras import pip_install
from pgcli.runs_dir import RUNS_DIR
from pgcli.training.backend.precision import in_32_bits
from pgcli.training.evaluation.saved_agents import find_checkpoint, load_agent

OBSERVATIONS = 1000
TOLERANCE = 1e-5
"""Largest difference of a continuous action, absolute and relative."""


class Format(NamedTuple):
    """A format: the extra and packages that it needs, and its purpose."""

    extra: str | None
    packages: tuple[str, ...]
    purpose: str

    @property
    def installed(self) -> bool:
        """Whether all packages that it needs are there."""
        return all(importlib.util.find_spec(name) for name in self.packages)


FORMATS: Mapping[str, Format] = {
    "stablehlo": Format(None, (), "a program for JAX on any platform"),
    "onnx": Format(
        "onnx", ("jax2onnx", "onnxruntime"), "a graph for onnxruntime and others"
    ),
    "safetensors": Format(None, (), "the arrays, in one file"),
    "orbax": Format(None, (), "the arrays, as a directory for JAX programs"),
}


@in_32_bits()
def export(
    target: str,
    *,
    format: str,
    out: Path | None = None,
    best: bool = False,
    member: str | None = None,
    overwrite: bool = False,
    runs_dir: Path = RUNS_DIR,
) -> dict[str, Any]:
    """Writes the policy of a run or checkpoint as a file; returns what was written.

    Args:
      target: path or name of a run, or path of a checkpoint.
      format: a key of `FORMATS`.
      out: path to write to; by default the run's name in the current directory.
      best: whether to export a run's best checkpoint instead of its last.
      member: text that identifies one of several members: `SEED[,KEY=VALUE…]`.
      overwrite: whether to replace what is at the path.
      runs_dir: directory of named runs.

    Raises:
      UsageError: the run, member or format does not exist, a package is not installed,
        or the path is taken or cannot be written.
      CheckpointError: the checkpoint is missing, damaged or of another format.
      ExportError: the policy cannot be converted, or the file acts differently;
        nothing new is at the path.
    """
    _check_known(format)
    trained = load_agent(find_checkpoint(target, runs_dir, best), member)
    path = out or Path(f"{trained.run}.{format}")
    if path.exists() and not overwrite:
        raise UsageError(
            f"{path} exists", help="-o chooses another path; --overwrite replaces it"
        )
    policy = exported_policy(trained)
    module = module_of(format)
    draft = path.with_name(f".{path.name}.draft")
    try:
        # write and compare beside the destination, so that a refused file never gets it
        module.write(policy, draft)
        difference = _difference(policy, module, draft)
        _remove(path)
        draft.rename(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        _remove(draft)
    files = [p for p in (path.rglob("*") if path.is_dir() else (path,)) if p.is_file()]
    return {
        "format": format,
        "path": str(path),
        "bytes": sum(file.stat().st_size for file in files),
        "run": trained.run,
        "checkpoint": str(trained.path),
        "iteration": trained.iteration,
        **({} if trained.member is None else {"member": trained.member.label}),
        "inputs": {
            name: {"shape": ["batch", *space.shape], "dtype": space.dtype}
            for name, space in policy.inputs.items()
        },
        "outputs": list(policy.outputs),
        "observations_compared": OBSERVATIONS,
        "largest_difference": difference,
    }


def module_of(format: str) -> Any:
    """The module of a format: `write(policy, path)` and `run(policy, path, batch)`."""
    return import_module(f"pgcli.export.{format}")


def _check_known(format: str) -> None:
    """Raises a UsageError if a format does not exist, or is not installed."""
    if format not in FORMATS:
        raise UsageError(
            f"`--format {format}`: expected {', '.join(FORMATS)}",
            help="`pgcli export --list` describes them",
        )
    if not FORMATS[format].installed:
        raise UsageError(
            f"`--format {format}` needs packages that are not installed",
            help=pip_install(str(FORMATS[format].extra)),
        )


def _difference(policy: ExportedPolicy, module: Any, path: Path) -> float:
    """Largest difference between the outputs of the file and of its source.

    Raises an ExportError if it is more than rounding.
    """
    batch = sample_inputs(policy, OBSERVATIONS)
    largest = 0.0
    for source, copy in zip(
        outputs_of(policy, batch), module.run(policy, path, batch), strict=True
    ):
        tolerance = 0.0 if source.dtype.kind in "iu" else TOLERANCE
        same = np.isclose(copy, source, rtol=tolerance, atol=tolerance)
        if copy.shape != source.shape or not same.all():
            raise ExportError(
                f"the exported policy acts differently on {np.sum(~same)} of "
                f"{same.size} action components; nothing was written",
                where=str(policy.trained.path),
                help="please report this with the run's config.yaml",
            )
        gap = np.abs(copy.astype(np.float64) - source)
        largest = max(largest, float(np.max(gap, initial=0.0)))
    return largest


def _remove(path: Path) -> None:
    """Removes the file or directory, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
