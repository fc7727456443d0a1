"""Wall time of `pgcli sweep` against the shell script: learning rates × seeds.

    python tests/benchmarks/sweep.py
    python tests/benchmarks/sweep.py --env CartPole-v1 --steps 100000 --rounds 2

Both do the same 24 runs of ppo2, alternately, each round in a directory of its own; the
cache of compiled programs is shared and filled by a run before. The machine should have
nothing else to do.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "configs" / "sweeps" / "ppo2_cartpole.sh"
LRS = ("1e-4", "3e-4", "1e-3", "3e-3")
SEEDS = 6
PGCLI = [sys.executable, "-m", "pgcli"]


def seconds(command: list[str], folder: Path, **settings: str) -> float:
    start = time.perf_counter()
    subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **settings},
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - start


def shell(folder: Path, env: str, steps: int, rates: Sequence[str] = LRS) -> float:
    seeds = " ".join(map(str, range(SEEDS if len(rates) > 1 else 1)))
    return seconds(
        ["sh", str(SCRIPT)],
        folder,
        PGCLI=" ".join(PGCLI),
        ENV=env,
        LRS=" ".join(rates),
        SEEDS=seeds,
        STEPS=str(steps),
    )


def sweep(folder: Path, env: str, steps: int) -> float:
    (folder / "sweep.yaml").write_text(
        f"config: {{env.id: '{env}', steps: {steps}, seeds: {SEEDS}}}\n"
        f"sampler: grid\nspace: {{optimizer.lr: [{', '.join(LRS)}]}}\n"
    )
    return seconds([*PGCLI, "sweep", "sweep.yaml", "-q"], folder)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--env", default="func:CartPole-v1")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        os.environ["PGCLI_CACHE"] = str(root / "cache")
        for name in ("fill", "shell", "sweep"):
            (root / name).mkdir()
        # fill the cache
        shell(root / "fill", asked.env, 1000, LRS[:1])
        sweep(root / "fill", asked.env, 1000)
        for _ in range(asked.rounds):
            spans = {}
            for kind in (shell, sweep):
                folder = Path(tempfile.mkdtemp(dir=root / kind.__name__))
                spans[kind] = kind(folder, asked.env, asked.steps)
            print(
                f"{asked.env}, {len(LRS) * SEEDS} runs × {asked.steps:,} steps: "
                f"shell {spans[shell]:.1f} s, sweep {spans[sweep]:.1f} s, "
                f"ratio {spans[sweep] / spans[shell]:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
