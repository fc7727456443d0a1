"""Latency of an exported policy: microseconds per call, by format and batch size.

    python tests/benchmarks/export_latency.py RUN [RUN …]

Formats that need a package that is not installed are left out. Each figure is the best
of 7 rounds; `pgcli.load_policy` is the policy inside pgcli.
"""

import sys
import tempfile
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

import pgcli
from pgcli.export.export import FORMATS, module_of
from pgcli.export.policy import ExportedPolicy, exported_policy, sample_inputs

BATCHES = (1, 64, 1024)
ROUNDS = 7


def callers(policy: ExportedPolicy, folder: Path) -> dict[str, Callable[..., Any]]:
    """Function of a batch by name of the way to call the policy."""
    program = folder / "policy.stablehlo"
    module_of("stablehlo").write(policy, program)
    call = jax.jit(export.deserialize(bytearray(program.read_bytes())).call)
    ways: dict[str, Callable[..., Any]] = {
        "stablehlo": lambda *obs: np.asarray(call(*obs))
    }
    if FORMATS["onnx"].installed:
        import onnxruntime

        graph = folder / "policy.onnx"
        module_of("onnx").write(policy, graph)
        session = onnxruntime.InferenceSession(graph.read_bytes())
        names = list(policy.inputs)
        ways["onnx"] = lambda *obs: session.run(
            None, dict(zip(names, obs, strict=True))
        )
    return ways


def main() -> None:
    for run in sys.argv[1:]:
        loaded = pgcli.load_policy(run)
        policy = exported_policy(loaded.trained)
        with tempfile.TemporaryDirectory() as folder:
            ways = callers(policy, Path(folder))
        ways["pgcli.load_policy"] = loaded
        for way, call in ways.items():
            for batch in BATCHES:
                obs = sample_inputs(policy, batch)
                call(*obs)
                timer = timeit.Timer(lambda call=call, obs=obs: call(*obs))
                number, _ = timer.autorange()
                best = min(timer.repeat(ROUNDS, max(number // 4, 1)))
                micros = 1e6 * best / max(number // 4, 1)
                print(f"{loaded.trained.run:24} {way:18} {batch:5} {micros:10,.1f} µs")


if __name__ == "__main__":
    main()
