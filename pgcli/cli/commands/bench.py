"""`pgcli bench`."""

from collections.abc import Mapping
from typing import Any

from pgcli.cli import options
from pgcli.cli.command import Command
from pgcli.cli.terminal.console import Terminal, table
from pgcli.cli.terminal.formatting import number, short
from pgcli.config.schema import STOPS

EXAMPLES = """\
pgcli bench
pgcli bench --env func:CartPole-v1 --set env.num_envs=64
pgcli bench -c my.yaml --json"""

NAMES = {
    "bare": "environments only, random actions",
    "collection": "collection: policy and environments",
    "update": "update",
    "whole": "whole iterations",
}

COUNTED = {
    "flops": ("matrix products, per iteration", "operations"),
    "functions": ("tanh, exp, log …, per iteration", "values"),
}
LIMITS = {
    "stepping": "environments only, reached by collection",
    "arithmetic": "matrix products, tanh, exp, log … only",
    "both": "both, reached by whole iterations",
}

LEFT_OUT = {"seed", "seeds", "grid", "steps", *STOPS}
FLAGS = [name for name in options.CONFIG_FLAGS if name not in LEFT_OUT]


def bench(
    terminal: Terminal, flags: options.Flags, seconds: options.Seconds = 10.0
) -> None:
    """Measure how fast each part of training is on this machine."""
    resolved = options.resolve_config(terminal, flags, spaces=options.look)
    terminal.note(options.source_of(resolved, flags))
    terminal.note(f"measuring {seconds:g} s…")
    from pgcli.diagnose import bench as measuring

    result = measuring.bench(resolved.config, seconds)
    terminal.answer(_text(result), result)


def _text(result: Mapping[str, Any]) -> str:
    # steps per second, and the share of each part in an iteration
    rates, shares = result["rates"], result["shares"]
    parts = {"bare": "stepping", "collection": "acting", "update": "update"}
    rows = [
        (
            NAMES[name],
            f"{rates[name]:,.0f}",
            f"{shares[parts[name]]:.0%}" if name in parts else "100%",
        )
        for name in NAMES
    ]
    helpers = f", {result['helpers']}" if result["helpers"] else ""
    where = (
        f"{result['algo']} on {result['env']} ({result['backend']} "
        f"×{result['num_envs']}{helpers}), {result['accelerator']} ×{result['devices']}"
    )

    # the limits, and the arithmetic behind them
    limits = [
        (LIMITS[name], f"{limit['steps_per_second']:,.0f}", f"{limit['reached']:.0%}")
        for name, limit in result["limits"].items()
    ]
    done = result["arithmetic"]
    arithmetic = [
        (words, f"{short(done[name])} {unit} at {short(done[f'{name}_per_second'])}/s")
        for name, (words, unit) in COUNTED.items()
        if done[name]
    ]

    # other costs
    memory = result["device_memory_bytes"]
    more = table(
        [
            *arithmetic,
            ("acting, per step", f"{number(result['act_microseconds'])} µs"),
            ("compile", f"{number(result['compile_seconds'])} s"),
            ("memory", f"{short(result['memory_bytes'])}B resident at most")
            if memory is None
            else (
                "memory",
                f"{short(result['memory_bytes'])}B resident, "
                f"{short(memory)}B on the device at most",
            ),
        ]
    )
    rated = table(rows, header=(where, "STEPS/S", "OF AN ITERATION"))
    limited = table(limits, header=("limits of this machine", "STEPS/S", "REACHED"))
    said = f"{result['bottleneck']}\ntry: {result['advice']}"
    return f"{rated}\n\n{limited}\n\n{more}\n\n{said}"


COMMAND = Command(bench, EXAMPLES, flags=FLAGS)
