"""Rates of the main path on CartPole: end to end, collection alone, update alone.

    python tests/benchmarks/cartpole.py [--seconds 12]

Steps per second as `pgcli bench` measures them. Each row runs in a process of
its own, since thread settings hold for a process.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SMALL = {"env.num_envs": 8, "rollout.num_steps": 32, "algo.num_epochs": 20}
LARGE = {"env.num_envs": 64, "rollout.num_steps": 128, "algo.num_epochs": 4}
ROWS: dict[str, dict[str, Any]] = {
    "host 8 x 32, 20 epochs x 1": {"env.id": "CartPole-v1", **SMALL},
    "host native 64 x 128, 4 epochs x 4": {
        "env.id": "CartPole-v1",
        "env.vectorizer": "native",
        "algo.num_minibatches": 4,
        **LARGE,
    },
    "device 8 x 32, 20 epochs x 1": {"env.id": "func:CartPole-v1", **SMALL},
    "device 64 x 128, 4 epochs x 4": {
        "env.id": "func:CartPole-v1",
        "algo.num_minibatches": 4,
        **LARGE,
    },
}


def measure(settings: dict[str, Any], seconds: float) -> dict[str, float]:
    """The rates of one configuration."""
    from pgcli.config.load import resolve
    from pgcli.report.bench import bench

    sets = [f"{key}={value}" for key, value in settings.items()]
    rates: dict[str, float] = bench(
        resolve(file=None, flags={}, sets=sets).config, seconds
    )["rates"]
    return rates


def main() -> None:
    """Parses the command line, measures each row in its own process, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=12.0, help="for each row")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        rates = measure(ROWS[options.row], options.seconds)
        print(json.dumps(rates))
        return
    columns = ("whole", "collection", "update", "bare")
    print(f"{'steps per second':36}" + "".join(f"{name:>12}" for name in columns))
    for row in ROWS:
        command = [sys.executable, str(Path(__file__)), "--row", row]
        command += ["--seconds", str(options.seconds)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rates = json.loads(done.stdout.splitlines()[-1])
        print(f"{row:36}" + "".join(f"{rates[key]:12,.0f}" for key in columns))


if __name__ == "__main__":
    main()
