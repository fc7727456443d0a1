"""Numbers and results as text, for the terminal and for pages."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

NOTHING = "–"


def number(value: float | None, digits: int = 1) -> str:
    """A number with `digits` decimals; a dash if it is None or not finite."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:,.{digits}f}"


def short(value: float | None) -> str:
    """A number as a short text, such as 0.008, 8.31, 14.8k, 1.2M."""
    if value is None or not math.isfinite(value):
        return NOTHING
    size = abs(value)
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= 0.9995 * limit:
            scaled = value / limit
            return (
                f"{scaled:.0f}{unit}" if abs(scaled) >= 100 else f"{scaled:.1f}{unit}"
            )
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size == 0 or size >= 1:
        return f"{value:.2f}"
    return f"{value:.3f}" if size >= 1e-3 else f"{value:.0e}"


def clock(seconds: float | None) -> str:
    """Seconds as h:mm:ss."""
    if seconds is None or not math.isfinite(seconds):
        return "-:--:--"
    minutes, rest = divmod(int(seconds + 0.5), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def interval(row: Mapping[str, Any]) -> str:
    """Mean return of an evaluation with its interval, episodes and mode."""
    text = number(row.get("return_mean"))
    low, high = row.get("return_ci") or (None, None)
    how = "deterministic" if row.get("deterministic", True) else "stochastic"
    distinct, episodes = row.get("n_distinct"), row.get("episodes")
    if distinct == 1 != episodes:
        return f"{text}, no interval: all {episodes} episodes are the same, {how}"
    if low is not None and high is not None:
        text += f"  [{number(low)}, {number(high)}] 95 %"
    if "runs" in row:
        iqm, (low, high) = row["return_iqm"], row["return_iqm_ci"]
        text += f", IQM {number(iqm)} [{number(low)}, {number(high)}]"
        how = f"{row['runs']} runs, {how}"
    few = f" ({distinct} distinct)" if distinct not in (None, episodes) else ""
    return f"{text}, {episodes} episodes{few}, {how}"


def members_rows(result: Mapping[str, Any]) -> list[Sequence[str]]:
    """Header, and a row per member or combination of the grid; no empty columns.

    The list is empty for a single run.
    """
    members = result.get("members")
    if not members:
        return []

    # a grid: one line per combination of values, over its seeds
    cells = result.get("cells") or []
    if len(cells) > 1:
        names = list(cells[0]["values"])
        head = [*names, "RUNS", "EVAL RETURN, IQM", "TRAIN RETURN, IQM", "DIVERGED"]
        rows = [
            (
                *(f"{cell['values'][name]:g}" for name in names),
                str(cell["seeds"]),
                iqm(cell["eval"]),
                iqm(cell["train"]) if cell["train"] else "",
                str(cell["diverged"] or ""),
            )
            for cell in cells
        ]
        return _filled(head, rows)

    # seeds only: one line per member
    rows = [
        (
            str(member["seed"]),
            number((member.get("eval") or member).get("return_mean")),
            number(member["train_return_mean"])
            if member.get("train_return_mean") is not None
            else "",
            member.get("diverged") or "",
        )
        for member in members
    ]
    head = ["SEED", "EVAL RETURN", "TRAIN RETURN", "DIVERGED"]
    return _filled(head, rows)


def comparison_rows(result: Mapping[str, Any]) -> list[Sequence[str]]:
    """Header, and a row per group, of a result of `compare.compare`."""
    head = ["group", "runs", "IQM", "95 %", "mean", "worst", "P(better)", "95 %"]
    threshold = result["threshold"]
    if threshold is not None:
        head += [f"steps to {threshold:g}", "reached"]
    return [head, *map(_comparison_row, result["groups"])]


def _comparison_row(row: Mapping[str, Any]) -> list[str]:
    better, reached = row["improvement"], row["steps_to_threshold"]
    (low, high), several = row["iqm_ci"], row["runs"] > 1
    cells = [
        row["group"],
        str(row["runs"]),
        number(row["iqm"]),
        f"[{number(low)}, {number(high)}]" if several else NOTHING,
        number(row["mean"]),
        number(row["worst"]),
        f"{better['probability']:.2f}" if better else NOTHING,
        f"[{better['ci'][0]:.2f}, {better['ci'][1]:.2f}]" if better else NOTHING,
    ]
    if reached:
        cells += [short(reached["median"]), f"{reached['reached']} of {row['runs']}"]
    return cells


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys as CSV, below a header."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def iqm(score: Mapping[str, Any] | None) -> str:
    """Interquartile mean of a score, with its interval."""
    if score is None:
        return NOTHING
    low, high = score["iqm_ci"]
    return f"{number(score['iqm'])} [{number(low)}, {number(high)}]"


def _filled(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Header and rows without the columns that are empty in all rows."""
    filled = [i for i in range(len(head)) if any(row[i] for row in rows)]
    return [[row[i] for i in filled] for row in (head, *rows)]
