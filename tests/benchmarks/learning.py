"""Trains one configuration over seeds and prints what it reaches, raw.

    python tests/benchmarks/learning.py --algo ppo2 --env CartPole-v1 --seeds 10

(a) is the mean return of the last 100 training episodes, (c) that of 100 deterministic
evaluation episodes on the reporting seeds; both as the mean over seeds with its 95 %
bootstrap interval, and the worst seed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np


def bootstrap(values: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval of the mean."""
    draws = np.random.default_rng(0).integers(0, len(values), (10_000, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def train(options: argparse.Namespace, seed: int, runs: Path) -> dict[str, Any]:
    """One run in a process of its own."""
    command = [sys.executable, "-m", "pgcli", "train", "--algo", options.algo]
    command += ["--env", options.env, "--seed", str(seed), "--runs-dir", str(runs)]
    command += ["--name", f"seed{seed}", "-q", "--json"]
    if options.steps:
        command += ["--steps", str(options.steps)]
    for assignment in options.set:
        command += ["--set", assignment]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    result: dict[str, Any] = json.loads(done.stdout)
    if not result["ok"]:
        sys.exit(f"seed {seed}: {result['error']['message']}\n{done.stderr}")
    return result


def main() -> None:
    """Parses the command line, trains, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--algo", default="ppo2")
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("--seeds", type=int, default=10, help="seeds 0 to N-1")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    parser.add_argument("--target", type=float, help="count the seeds that reach it")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as runs,
        ThreadPoolExecutor(options.jobs) as pool,
    ):
        results = list(
            pool.map(
                lambda seed: train(options, seed, Path(runs)), range(options.seeds)
            )
        )
    # three digits of returns that are below 10
    highest = max(abs(result["eval"]["return_mean"]) for result in results)
    digits = 1 if highest >= 10 else 3
    print("seed   (a) train   (c) eval   best eval     steps   steps/s")
    for seed, result in enumerate(results):
        print(
            f"{seed:4} {result['train']['return_mean']:11.{digits}f}"
            f" {result['eval']['return_mean']:10.{digits}f}"
            f" {result['best']['return_mean']:11.{digits}f}"
            f" {result['steps']['used']:9,} {result['steps_per_second']:9,.0f}"
        )
    for label, key in (("(a) train", "train"), ("(c) eval", "eval")):
        values = np.array([result[key]["return_mean"] for result in results])
        low, high = bootstrap(values)
        reached = ""
        if options.target is not None:
            count = int((values >= options.target).sum())
            reached = f"  {count}/{len(values)} at or above {options.target:g}"
        print(
            f"{label:10} mean {values.mean():8.{digits}f}"
            f"  [{low:.{digits}f}, {high:.{digits}f}]"
            f"  worst {values.min():8.{digits}f}{reached}"
        )


if __name__ == "__main__":
    main()
