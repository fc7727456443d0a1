"""Numbers as text, and the summary of a finished run."""

from collections.abc import Mapping
from typing import Any

from pgcli.cli.terminal.console import table
from pgcli.report.text import NOTHING, clock, interval, iqm, members_rows, number, short

__all__ = ["NOTHING", "clock", "interval", "iqm", "number", "short"]


def raw_return(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The line of a table with the return beneath the wrappers, if there is one."""
    if row.get("raw_return_mean") is None:
        return []
    low, high = map(number, row["raw_return_ci"])
    text = f"{number(row['raw_return_mean'])}  [{low}, {high}] 95 %"
    return [("raw return", f"{text}, without the wrappers of env.wrappers")]


def members_table(result: Mapping[str, Any]) -> str:
    """Table of the members below an empty line; empty for a single run."""
    head, *rows = members_rows(result) or [()]
    return "\n\n" + table(rows, head) if rows else ""


def summary(result: Mapping[str, Any]) -> str:
    """The result of `train` and `resume` as a table."""
    steps, seconds = result["steps"], result["seconds"]
    stopped = {
        "budget": "budget spent",
        "until_return": "--until-return reached",
        "patience": "--patience exhausted",
        "max_seconds": "--max-seconds reached",
        "on_iteration": "stopped by on_iteration",
        "signal": "stopped by a signal",
    }.get(result["stopped"], result["stopped"])
    preset = f", preset {result['preset']}" if result.get("preset") else ""

    # the run and its scores
    rows = [
        ("run", str(result["path"])),
        ("trained", f"{result['algo']} on {result['env']}{preset}"),
        ("steps", f"{steps['used']:,} of {steps['asked']:,} asked, {stopped}"),
    ]
    # statistics over all values of a grid would mix different settings
    alike = len(result.get("cells", ())) < 2
    if result.get("eval") and alike:
        rows += [("eval return", interval(result["eval"]))]
        rows += raw_return(result["eval"])
    best = result.get("best")
    if best:
        score = number(best.get("return_mean"))
        path = best.get("checkpoint") or NOTHING
        rows.append(("best eval", f"{score}, {path}"))

    # cost and checkpoint
    training = (result.get("train") or {}).get("return_mean")
    rows += [("train return", number(training))] * alike
    rows += [
        (
            "time",
            f"{clock(seconds['total'])} (compile {number(seconds['compile'])} s), "
            f"{short(result.get('steps_per_second'))} steps/s",
        ),
        ("checkpoint", str(result.get("checkpoint") or NOTHING)),
    ]
    if result.get("resume_level"):
        rows.append(("resumed", str(result["resume_level"])))
    return table(rows) + members_table(result)


def next_step(result: Mapping[str, Any]) -> str:
    """A suggestion for the next command after training."""
    best = (result.get("best") or {}).get("checkpoint")
    which = " --best" if best and best != result.get("checkpoint") else ""
    return f"next: pgcli eval {result['path']}{which}"
