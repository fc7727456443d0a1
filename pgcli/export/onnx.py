"""ONNX by jax2onnx: a graph for onnxruntime and other engines without Python or JAX."""

import contextlib
import io
import logging
from pathlib import Path

from pgcli.export.policy import Arrays, ExportedPolicy, ExportError, shapes

OPSET = 18
"""The newest that engines of 2023 and later run; jax2onnx writes 23 otherwise."""


def write(policy: ExportedPolicy, path: Path) -> None:
    """Writes the graph; the batch size stays open."""
    # jax2onnx reports on its plugins through print and logging
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            from jax2onnx import to_onnx

            graph = to_onnx(
                policy.function,
                shapes(policy, ("batch",)),
                model_name="policy",
                opset=OPSET,
                input_names=list(policy.inputs),
                output_names=list(policy.outputs),
            )
    except Exception as error:
        raise ExportError(
            f"jax2onnx cannot convert this policy: {error}",
            where=str(policy.trained.path),
            help="the other formats of `pgcli export --list` need no conversion",
        ) from error
    finally:
        logging.disable(logging.NOTSET)
    path.write_bytes(graph.SerializeToString())


def run(policy: ExportedPolicy, path: Path, batch: Arrays) -> Arrays:
    """Outputs of the graph in the file."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        path.read_bytes(), providers=["CPUExecutionProvider"]
    )
    inputs = dict(zip(policy.inputs, batch, strict=True))
    return tuple(session.run(list(policy.outputs), inputs))
