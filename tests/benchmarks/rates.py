"""Rates of whole iterations, of collection and of the update alone, by shape.

    python tests/benchmarks/rates.py [--seconds 12] [--only HalfCheetah]

Steps per second as `pgcli bench` measures them. Each row runs in a process of
its own, since thread settings hold for a process. Rows whose packages are not
installed are left out.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ZOO = {"env.num_envs": 8, "rollout.num_steps": 32, "algo.num_epochs": 20}
LARGE = {"env.num_envs": 64, "rollout.num_steps": 128}
FOUR = {"algo.num_epochs": 4, "algo.num_minibatches": 4}
ONCE = {"algo.num_minibatches": 1}
MUJOCO = {
    "env.id": "HalfCheetah-v5",
    "algo.num_epochs": 10,
    "algo.num_minibatches": 32,
    "normalize.obs": "true",
    "normalize.reward": "true",
}
ROWS: dict[str, dict[str, Any]] = {
    "host CartPole 8 x 32, 20 epochs": {"env.id": "CartPole-v1", **ZOO, **ONCE},
    "host CartPole 4 x 128": {
        "env.id": "CartPole-v1",
        "env.num_envs": 4,
        "rollout.num_steps": 128,
        **FOUR,
    },
    "host CartPole native 64 x 128": {
        "env.id": "CartPole-v1",
        "host.vectorizer": "native",
        **LARGE,
        **FOUR,
    },
    "host HalfCheetah 1 x 2048": {
        **MUJOCO,
        "env.num_envs": 1,
        "rollout.num_steps": 2048,
    },
    "host HalfCheetah 8 x 256, in process": {
        **MUJOCO,
        "env.num_envs": 8,
        "rollout.num_steps": 256,
        "host.workers": 0,
    },
    "host HalfCheetah 8 x 256, thread": {
        **MUJOCO,
        "env.num_envs": 8,
        "rollout.num_steps": 256,
        "host.workers": "thread",
    },
    "host HalfCheetah 8 x 256, 1 worker": {
        **MUJOCO,
        "env.num_envs": 8,
        "rollout.num_steps": 256,
        "host.workers": 1,
    },
    "device CartPole 8 x 32, 20 epochs": {
        "env.id": "func:CartPole-v1",
        **ZOO,
        **ONCE,
    },
    "device CartPole 4 x 128": {
        "env.id": "gymnax:CartPole-v1",
        "env.num_envs": 4,
        "rollout.num_steps": 128,
        **FOUR,
    },
    "device CartPole 64 x 128": {"env.id": "gymnax:CartPole-v1", **LARGE, **FOUR},
    "device CartPole 2048 x 128": {
        "env.id": "gymnax:CartPole-v1",
        "env.num_envs": 2048,
        "rollout.num_steps": 128,
        **FOUR,
    },
}
NEEDS = {"HalfCheetah": "mujoco", "gymnax:": "gymnax"}


def is_installed(settings: dict[str, Any]) -> bool:
    """Whether the packages of a row's environment are there."""
    needed = [module for part, module in NEEDS.items() if part in settings["env.id"]]
    return all(importlib.util.find_spec(module) for module in needed)


def measure(settings: dict[str, Any], seconds: float) -> dict[str, float]:
    """The rates of one configuration."""
    from pgcli.config.load import resolve
    from pgcli.diagnose.bench import bench

    sets = [f"{key}={value}" for key, value in settings.items()]
    rates: dict[str, float] = bench(
        resolve(file=None, flags={}, sets=sets).config, seconds
    )["rates"]
    return rates


def main() -> None:
    """Parses the command line, measures each row in its own process, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=12.0, help="for each row")
    parser.add_argument("--only", default="", help="rows with this in their name")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        rates = measure(ROWS[options.row], options.seconds)
        print(json.dumps(rates))
        return
    columns = ("whole", "collection", "update", "bare")
    print(f"{'steps per second':40}" + "".join(f"{name:>12}" for name in columns))
    for row, settings in ROWS.items():
        if options.only not in row or not is_installed(settings):
            continue
        command = [sys.executable, str(Path(__file__)), "--row", row]
        command += ["--seconds", str(options.seconds)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rates = json.loads(done.stdout.splitlines()[-1])
        print(f"{row:40}" + "".join(f"{rates[key]:12,.0f}" for key in columns))


if __name__ == "__main__":
    main()
