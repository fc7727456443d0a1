"""Tables and progress of `pgcli sweep`."""

from collections.abc import Mapping, Sequence
from typing import Any

from pgcli.cli.terminal.console import Terminal, table
from pgcli.cli.terminal.formatting import NOTHING, number
from pgcli.config.dump import flow

SHOWN = 20
"""Rows of the table of trials."""


def values(rows: Sequence[Mapping[str, Any]]) -> str:
    """The values of trials as a table."""
    keys = _keys(rows)
    lines = [[str(row["trial"]), *_cells(row, keys)] for row in rows]
    return table(lines, ["TRIAL", *keys])


def best(data: Mapping[str, Any]) -> str:
    """The best trial, and what fresh seeds gave."""
    rows = [("trial", str(data["trial"]))]
    rows += [(key, _value(value)) for key, value in data["values"].items()]
    rows += [("return", f"{number(data['score'])} {_interval(data['ci'])}")]
    rows += [("command", data["command"])]
    fresh = data.get("fresh")
    if fresh is None:
        return table(rows)
    again = number(fresh["fresh"])
    rows += [("fresh seeds", f"{again} {_interval(fresh['fresh_ci'])}")]
    rows += [("median trial", number(fresh["median_trial"]))]
    if fresh["share_of_lead"] is not None:
        share = f"{fresh['share_of_lead']:.0%} of the lead over the median trial"
        rows += [("selection", share)]
    return table(rows)


def _interval(ends: Sequence[float] | None) -> str:
    return "" if ends is None else "[{}, {}]".format(*map(number, ends))


def _keys(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row["values"]))


def _cells(row: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    values = row["values"]
    return [_value(values[key]) if key in values else NOTHING for key in keys]


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else flow(value)


def trials(result: Mapping[str, Any]) -> str:
    """The best trials, then those without a score."""
    rows = sorted(
        (row for row in result["trials"] if row["state"] != "waiting"),
        key=lambda row: (row["score"] is None, -(row["score"] or 0), row["trial"]),
    )
    keys = _keys(rows)
    lines = [
        [
            str(row["trial"]),
            *_cells(row, keys),
            number(row["score"]),
            NOTHING
            if row["ci"] is None
            else "[{}, {}]".format(*map(number, row["ci"])),
            row["state"] + (f": {row['error']}" if row["error"] else ""),
        ]
        for row in rows[:SHOWN]
    ]
    text = table(lines, ["TRIAL", *keys, "RETURN, IQM", "95 %", "STATE"])
    if len(rows) > SHOWN:
        text += f"\n… and {len(rows) - SHOWN} more (--json has all)"
    shares = result["importance"].items()
    if shares:
        text += "\n\nimportance  " + ", ".join(f"{key} {x:.0%}" for key, x in shares)
    return text


class Progress:
    """One line on stderr for each change of the numbers of trials."""

    def __init__(self, terminal: Terminal, total: int | None) -> None:
        self._terminal, self._total = terminal, total
        self._last: Any = None

    def __call__(self, counts: Mapping[str, int], best: float | None) -> None:
        """Reports the numbers of trials by state."""
        if (counts, best) == self._last:
            return
        self._last = counts, best
        ended = counts["complete"] + counts["pruned"] + counts["fail"]
        of = "" if self._total is None else f"/{self._total}"
        parts = [f"[{ended}{of}]", f"{counts['running']} running"]
        parts += [
            f"{counts[key]} {word}" for key, word in _WORDS.items() if counts[key]
        ]
        parts += [] if best is None else [f"best {number(best)}"]
        self._terminal.note("  ".join(parts))


_WORDS = {"pruned": "pruned", "fail": "failed"}
