"""Rates and memory against environments, members and width: `performance.py --scaling`.

Also prints shapes without good divisors against their neighbours, to find cliffs.
"""

import argparse
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

BASE = {
    "env.id": "func:CartPole-v1",
    "env.num_envs": 64,
    "rollout.num_steps": 128,
    "algo.num_epochs": 4,
    "algo.num_minibatches": 4,
}
SERIES: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "environments, 128 steps each": (
        "env.num_envs",
        (1, 4, 16, 64, 256, 1024, 4096, 8192),
        {},
    ),
    "members, 8 environments each": (
        "seeds",
        (1, 2, 4, 8, 16, 32, 64),
        {"env.num_envs": 8},
    ),
    "units of both hidden layers": (
        "network.hidden",
        (32, 64, 128, 256, 512, 1024),
        {},
    ),
}
CLIFFS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # what has no good divisor, and its smooth neighbour
    "61 x 127": (
        {"env.num_envs": 61, "rollout.num_steps": 127, "algo.num_minibatches": 1},
        {"algo.num_minibatches": 1},
    ),
    "67 x 131, trpo": (
        {
            "algo.name": "trpo",
            "env.num_envs": 67,
            "rollout.num_steps": 131,
            "algo.num_minibatches": 1,
        },
        {"algo.name": "trpo", "algo.num_minibatches": 1},
    ),
    "509 x 127": (
        {"env.num_envs": 509, "rollout.num_steps": 127, "algo.num_minibatches": 1},
        {"env.num_envs": 512, "algo.num_minibatches": 1},
    ),
    "8191 x 16": (
        {"env.num_envs": 8191, "rollout.num_steps": 16, "algo.num_minibatches": 1},
        {"env.num_envs": 8192, "rollout.num_steps": 16, "algo.num_minibatches": 1},
    ),
    "512 x 128, trpo": (
        {"algo.name": "trpo", "env.num_envs": 512},
        {"algo.name": "trpo"},
    ),
    "60 x 128, 3 minibatches": ({"env.num_envs": 60, "algo.num_minibatches": 3}, {}),
    "63 x 128, 7 minibatches": (
        {"env.num_envs": 63, "algo.num_minibatches": 7},
        {"algo.num_minibatches": 8},
    ),
    "5 members": ({"seeds": 5}, {"seeds": 4}),
    "7 members": ({"seeds": 7}, {"seeds": 8}),
    "layers of 61 units": ({"network.hidden": "[61, 61]"}, {}),
}

Start = Callable[..., Any]


def rate(
    start: Start, sets: dict[str, Any], options: argparse.Namespace
) -> dict[str, float]:
    """The best round of a configuration, and its memory."""
    program = start(
        sys.executable,
        "pgcli_run",
        {"sets": {**BASE, **sets}},
        False,
        4 * options.limit,
    )
    try:
        rounds = [program.measure(options.seconds) for _ in range(options.rounds)]
    finally:
        program.close()
    return max(rounds, key=lambda each: each["rate"])


def series(
    start: Start, options: argparse.Namespace
) -> Iterable[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Yields (title, sizes, rates, bytes), and prints them."""
    for title, (key, sizes, more) in SERIES.items():
        found = []
        for size in sizes:
            value = f"[{size}, {size}]" if key == "network.hidden" else size
            found.append(rate(start, {**more, key: value}, options))
            last = f"{found[-1]['rate']:,.0f} | {found[-1]['bytes'] / 2**20:,.0f} MiB"
            print(f"| {title} | {size:,} | {last} |", flush=True)
        rates, memory = (
            np.array([each[name] for each in found]) for name in ("rate", "bytes")
        )
        yield title, np.array(sizes), rates, memory


def draw(options: argparse.Namespace, start: Start) -> None:
    """Measures the series and the cliffs, prints both, and draws the series."""
    from pgcli.charts.base import Curve, Panel
    from pgcli.charts.svg import chart

    print("| series | size | steps/s | memory |\n|---|---|---|---|")
    panels = []
    for title, sizes, rates, memory in series(start, options):
        scaled = rates / rates.max(), memory / memory.max()
        labels = (
            f"steps per second, of {rates.max():,.0f}",
            f"memory, of {memory.max() / 2**20:,.0f} MiB",
        )
        curves = [
            Curve(*each)
            for each in zip(labels, (np.log2(sizes),) * 2, scaled, strict=True)
        ]
        heading = f"By the number of {title}: share of the largest"
        panels.append(Panel(heading, "log₂ of the number", curves))
    options.scaling.write_text(chart(panels), encoding="utf-8")
    print("\n| shape | steps/s | neighbour | times slower |\n|---|---|---|---|")
    for name, (sets, neighbour) in CLIFFS.items():
        if options.only in name:
            own, smooth = (
                rate(start, each, options)["rate"] for each in (sets, neighbour)
            )
            print(
                f"| {name} | {own:,.0f} | {smooth:,.0f} | {smooth / own:.2f} |",
                flush=True,
            )
