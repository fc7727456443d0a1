"""StableHLO by `jax.export`: a program for CPU, CUDA and TPU, run by JAX alone."""

from pathlib import Path

import jax
from jax import export

from pgcli.export.policy import Arrays, ExportedPolicy, as_arrays, shapes

PLATFORMS = ("cpu", "cuda", "tpu")


def write(policy: ExportedPolicy, path: Path) -> None:
    """Writes the serialised program; the batch size stays open."""
    structs = shapes(policy, export.symbolic_shape("batch"))
    program = export.export(jax.jit(policy.function), platforms=PLATFORMS)(*structs)
    path.write_bytes(program.serialize())


def run(policy: ExportedPolicy, path: Path, batch: Arrays) -> Arrays:
    """Outputs of the program in the file."""
    program = export.deserialize(bytearray(path.read_bytes()))
    return as_arrays(program.call(*batch))  # type: ignore[no-untyped-call]
