"""Tables and progress of `pgcli sweep`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pgcli.cli.terminal.console import Terminal, table
from pgcli.cli.terminal.formatting import NOTHING, clock, number
from pgcli.cli.terminal.redraw import Line, Redrawn
from pgcli.config.dump import flow

if TYPE_CHECKING:
    from pgcli.sweep.watcher import Snapshot

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
    if not rows:
        return "no trial has started"
    keys = _keys(rows)
    lines = [
        [
            str(row["trial"]),
            *_cells(row, keys),
            number(row["score"]),
            _interval(row["ci"]) or NOTHING,
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
    """Progress of a sweep: redrawn in place, or a line for each trial that ends."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._snapshot: Snapshot | None = None
        self._ended = 0
        self._live = Redrawn(terminal, self.lines) if terminal.redraws else None

    def __call__(self, snapshot: "Snapshot") -> None:
        """Shows the state of the sweep."""
        first, self._snapshot = self._snapshot is None, snapshot
        if self._live is not None:
            if first:
                self._live.start()
        elif first or snapshot.ended != self._ended:
            head, left = self._head(snapshot)
            best = f"  best {number(snapshot.best['score'])}" if snapshot.best else ""
            self._terminal.note(f"{head}{best}{left}")
        self._ended = snapshot.ended

    def close(self) -> None:
        """Ends the view; its last state stays."""
        if self._live is not None:
            self._live.stop()

    def _head(self, snapshot: "Snapshot") -> tuple[str, str]:
        """Name and numbers of trials; the time left."""
        of = "" if snapshot.total is None else f"/{snapshot.total}"
        words = [f"{snapshot.name}  {snapshot.ended}{of} trials"]
        words += [
            f"{snapshot.counts[key]} {word}"
            for key, word in (("pruned", "pruned"), ("fail", "failed"))
            if snapshot.counts[key]
        ]
        left = snapshot.left
        unknown = left is None or snapshot.ended == snapshot.total
        return ", ".join(words), "" if unknown else f"  {clock(left)} left"

    def lines(self, width: int) -> list[Line]:
        """The view, for a terminal of any width."""
        snapshot = self._snapshot
        if snapshot is None:
            return []
        head, left = self._head(snapshot)
        lines: list[Line] = [[(head, "bold"), (f"  {snapshot.sampler}{left}", "")]]
        running = [f"{name} {share:.0%}" for name, share in snapshot.running]
        rows = [("running", "  ".join(running) or "starting workers…")]
        if snapshot.ended == snapshot.total:
            rows = []
        best = snapshot.best
        if best is not None:
            values = ", ".join(f"{k} {_value(x)}" for k, x in best["values"].items())
            score = f"{number(best['score'])} {_interval(best['ci'])}"
            rows += [("best", f"{score}  {best['run']}: {values}")]
        shares = [f"{key} {x:.0%}" for key, x in snapshot.importance.items()]
        rows += [("importance", ", ".join(shares))] if shares else []
        return lines + [[(f" {name:11}", "dim"), (text, "")] for name, text in rows]
