r"""Operations per loop of a training program, compiled for a GPU or TPU without one.

    python tests/benchmarks/kernels.py cuda|tpu|cpu [--algo ppo2] [--set KEY=VALUE …]

XLA compiles for an A100, or a TPU v5e, from its description; nothing runs. On a GPU
every operation launches a kernel at least, some microseconds each, so that their number
bounds the rate of small programs. A loop is printed as its iterations times the
operations of its body, those of a branch included, those of inner loops not.

Needs plugins of JAX's own version, here X, but no driver and little of CUDA:

    pip install --no-deps jax-cuda12-plugin==X jax-cuda12-pjrt==X \
        nvidia-cuda-nvcc-cu12 nvidia-cuda-runtime-cu12
    pip install libtpu
"""

import argparse
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, NamedTuple

from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.errors import PgcliError

A100 = """
gpu_device_info {
  cuda_compute_capability { major: 8 }
  core_count: 108 fpus_per_core: 64 clock_rate_ghz: 1.41 threads_per_warp: 32
  threads_per_block_limit: 1024 threads_per_core_limit: 2048
  registers_per_block_limit: 65536 registers_per_core_limit: 65536
  shared_memory_per_block: 49152 shared_memory_per_core: 167936
  shared_memory_per_block_optin: 166912 l2_cache_size: 41943040
  memory_bandwidth: 1555200000000 device_memory_size: 42331013120
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
"""
"""An A100 as XLA describes one (`GpuTargetConfigProto`)."""

TOPOLOGIES: dict[str, dict[str, str]] = {
    "cuda": {"topology_name": "A100", "topology": "1x1x1", "target_config": A100},
    "tpu": {"topology_name": "v5e:2x2"},
}
FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while"}
"""Operations without a kernel of their own."""

FOUR = ("num_epochs", "num_minibatches")


class Loop(NamedTuple):
    """A loop of a compiled program; the whole program is one of one iteration."""

    iterations: int  # 1 if they are not known
    operations: int
    inner: list["Loop"]

    @property
    def total(self) -> int:
        """Operations of all iterations, inner loops included."""
        return self.iterations * (self.operations + sum(x.total for x in self.inner))

    def lines(self, depth: int = 0) -> Iterator[str]:
        """The loop and its inner loops, one a line."""
        yield f"{'  ' * depth}{self.iterations:5} × {self.operations}"
        for loop in self.inner:
            yield from loop.lines(depth + 1)


def read(hlo: str) -> Loop:
    """The loops of a compiled program."""
    bodies: dict[str, list[tuple[str, str]]] = {}
    entry = name = ""
    for line in hlo.splitlines():
        if head := re.match(r"(ENTRY )?%?([\w.-]+) \(.*\) -> .*\{$", line):
            name = head[2]
            bodies[name] = []
            entry = name if head[1] else entry
        elif found := re.match(r"\s+(?:ROOT )?\S+ = (?:\(.*?\)|\S+) ([a-z-]+)\(", line):
            bodies[name].append((found[1], line))
    return _loop(bodies, entry, 1)


def _loop(bodies: dict[str, list[tuple[str, str]]], name: str, iterations: int) -> Loop:
    count, inner = 0, []
    for operation, line in bodies[name]:
        count += operation not in FREE
        if operation == "while":
            condition, body = re.findall(r"(?:condition|body)=%?([\w.-]+)", line)
            # how often, if XLA notes it, or the constant that a `scan` counts up to
            text = line + str(bodies[condition])
            count_of = r'known_trip_count":\{"n":"(\d+)|constant\((\d+)\)'
            times = re.search(count_of, text)
            many = max(1, int(times[1] or times[2])) if times else 1
            inner.append(_loop(bodies, body, many))
        elif operation == "conditional":  # its longest branch
            names = re.findall(r"(?:computation=|[{ ])%([\w.-]+)", line.split("), ")[1])
            branches = [_loop(bodies, x, 1) for x in names if x in bodies]
            longest = max(branches, key=lambda x: x.total)
            count, inner = count + longest.operations, inner + longest.inner
    return Loop(iterations, count, inner)


def compiled(platform: str, algo: str, env: str, sets: list[str]) -> str:
    """The training program of a run as XLA compiles it for a platform."""
    # before JAX is imported
    os.environ.update(
        JAX_SKIP_CUDA_CONSTRAINTS_CHECK="1",
        TPU_SKIP_MDS_QUERY="1",
        TF_CPP_MIN_LOG_LEVEL="3",
        JAX_PLATFORMS="" if platform == "cuda" else "cpu",
    )
    import jax
    import numpy as np
    from jax.experimental import topologies

    from pgcli.config.load import resolve
    from pgcli.envs.make import make_device_env
    from pgcli.training.loops.base import to_words
    from pgcli.training.loops.device_loop import _jit_training
    from pgcli.training.step import make_knobs, make_setup

    flags = {"algo.name": (algo, "--algo"), "env.id": (env, "--env")}
    cfg = resolve(file=None, flags=flags, sets=sets, use_preset=False).config
    device_env, knobs = make_device_env(cfg.env), make_knobs(cfg)
    setup = make_setup(cfg, device_env.spec)
    device = jax.devices("cpu")[0]
    if platform in TOPOLOGIES:
        found = topologies.get_topology_desc(platform=platform, **TOPOLOGIES[platform])
        device = found.devices[0]
        jax.default_backend = lambda: platform  # traced as on this platform
    kept = _jit_training(setup, device_env, None, None)
    begin, chunk = (program._plain for program in kept)
    key = jax.eval_shape(lambda: jax.random.key(0))
    state, words = jax.eval_shape(begin, knobs, key), to_words(1)
    sharding = jax.sharding.SingleDeviceSharding(device)

    def place(x: Any) -> Any:
        return jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=sharding)

    arguments = (knobs, state, key, words, words, np.int32(1))
    program = chunk.lower(*jax.tree.map(place, arguments))
    return str(program.compile().as_text())


def main() -> None:
    """Parses the command line, compiles and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("platform", choices=[*TOPOLOGIES, "cpu"])
    parser.add_argument("--algo", default="ppo2", choices=ALGORITHM_CONFIGS)
    parser.add_argument("--env", default="func:CartPole-v1")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    names = [x.name for x in fields(ALGORITHM_CONFIGS[options.algo])]
    sets = ["env.num_envs=64"]
    if ALGORITHM_CONFIGS[options.algo].collects == "steps":
        sets.append("rollout.num_steps=128")
    sets += [f"algo.{name}=4" for name in FOUR if name in names] + options.set
    try:
        hlo = compiled(options.platform, options.algo, options.env, sets)
    except PgcliError as error:
        sys.exit(str(error))
    except (RuntimeError, NotImplementedError) as error:
        sys.exit(f"XLA cannot compile for {options.platform} here: {error}\n{__doc__}")
    loop = read(hlo)
    print(f"{loop.total:,} operations per iteration of training")
    print("\n".join(loop.lines()))


if __name__ == "__main__":
    main()
