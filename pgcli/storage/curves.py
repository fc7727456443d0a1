"""Curves of runs from their logs: one per group of members, with its interval."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pgcli.arrays.statistics import iqm_band
from pgcli.charts import svg
from pgcli.charts.base import Curve, Panel
from pgcli.charts.rows import columns
from pgcli.config.dump import flat, flow
from pgcli.config.load import resolve
from pgcli.config.members import config_of, members
from pgcli.config.schema import RunConfig
from pgcli.errors import UsageError
from pgcli.storage.run_directory import RunDirectory

X_TITLES = {
    "steps": "environment steps",
    "seconds": "seconds of training",
    "episodes": "finished episodes",
    "iteration": "iterations",
}
GRID = 200
"""Points of a curve over several members."""

EVALUATION = "eval."
"""Prefix of the keys of `eval.jsonl`; other keys are those of `metrics.jsonl`."""

DEFAULT_KEYS = ("return_mean", "eval.return_mean")


class Series(NamedTuple):
    """The curve of one member of one run, and the facts that it can be grouped by."""

    facts: Mapping[str, Any]
    label: str
    curve: Curve


def panels(
    runs: Sequence[RunDirectory],
    *,
    x: str,
    keys: Sequence[str],
    group_by: str | None = None,
) -> list[Panel]:
    """A panel per key, with a curve per group.

    Members of a group become one curve: interquartile mean and 95 % bootstrap interval
    at each point. Without `group_by`, the seeds of one run and grid point are a group.

    Raises:
      UsageError: a key has no value in any run, or none can be grouped by.
    """
    return _panels(
        [
            (run, resolve(file=run.config_yaml, flags={}, sets=[]).config)
            for run in runs
        ],
        x=x,
        keys=keys,
        group_by=group_by,
    )


def picture(run: RunDirectory, config: RunConfig) -> str | None:
    """The SVG of a run's returns by steps; None before the first episode has ended."""
    try:
        drawn = _panels([(run, config)], x="steps", keys=DEFAULT_KEYS)
    except UsageError:
        return None
    return svg.chart(drawn, X_TITLES["steps"])


def _panels(
    runs: Sequence[tuple[RunDirectory, RunConfig]],
    *,
    x: str,
    keys: Sequence[str],
    group_by: str | None = None,
) -> list[Panel]:
    groups = [_grouped(_series(run, config, x, keys), group_by) for run, config in runs]
    drawn = []
    for index, key in enumerate(keys):
        by_label: dict[str, list[Curve]] = {}
        for group in groups:
            for label, curves in group[index].items():
                by_label.setdefault(label, []).extend(curves)
        merged = (_over_members(label, each) for label, each in by_label.items())
        known = [curve for curve in merged if curve is not None]
        if known:
            drawn.append(Panel(key, known))
        elif key not in DEFAULT_KEYS:
            raise UsageError(
                f"no run has a value of `{key}`",
                where=", ".join(run.name for run, _ in runs),
                help="keys of metrics.jsonl, or eval.KEY for those of eval.jsonl; "
                "docs/metrics.md explains them",
            )
    if not drawn:
        raise UsageError("no episode has ended yet: there is nothing to plot")
    return drawn


def _series(
    run: RunDirectory, config: RunConfig, x: str, keys: Sequence[str]
) -> list[list[Series]]:
    """By key, the curve of each member of a run."""
    all_members = members(config) if config.has_members else [None]
    clock = None
    if x == "seconds":
        clock = _clock(columns(run.timing_jsonl, ["steps", "seconds"]))
    wanted: dict[Path, list[str]] = {run.metrics_jsonl: [], run.eval_jsonl: []}
    for key in keys:
        wanted[_log(run, key)].append(key.removeprefix(EVALUATION))
    logs = {
        path: columns(path, [x, "steps", "member", *names], width=len(all_members))
        for path, names in wanted.items()
    }
    found = []
    for key in keys:
        log = logs[_log(run, key)]
        y = log[key.removeprefix(EVALUATION)]
        position = log[x] if clock is None else np.interp(log["steps"], *clock)
        every = logs[run.metrics_jsonl]
        # a column that eval.jsonl does not have
        if len(every["steps"]) and not np.isfinite(position).any():
            position = np.interp(log["steps"], every["steps"], every[x])
        of_key = []
        for member in all_members:
            own = np.isfinite(y)
            facts = flat(config if member is None else config_of(config, member))
            label = run.name
            if member is not None:
                own &= log["member"] == member.index
                values = ", ".join(f"{k}={v:g}" for k, v in member.values.items())
                label = f"{run.name} {values}".strip()
            curve = Curve(label, position[own], y[own])
            of_key.append(Series({**facts, "run": run.name}, label, curve))
        found.append(of_key)
    return found


def _log(run: RunDirectory, key: str) -> Path:
    return run.eval_jsonl if key.startswith(EVALUATION) else run.metrics_jsonl


def _clock(timing: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(steps, seconds since the run began); a resumed process counts from 0 again."""
    steps, seconds = (np.append(0.0, timing[key]) for key in ("steps", "seconds"))
    passed = np.diff(seconds, prepend=0.0)
    return steps, np.cumsum(np.where(passed < 0, seconds, passed))


def _grouped(
    series: Sequence[Sequence[Series]], group_by: str | None
) -> list[dict[str, list[Curve]]]:
    """By key, the curves of each group.

    Raises:
      UsageError: the configuration has no such key.
    """
    grouped = []
    for of_key in series:
        groups: dict[str, list[Curve]] = {}
        for one in of_key:
            label = one.label
            if group_by is not None:
                if group_by not in one.facts:
                    raise UsageError(
                        f"`--group-by {group_by}`: no such key in {one.facts['run']}",
                        help="a key of `pgcli config show`, or run",
                    )
                value = one.facts[group_by]
                text = value if isinstance(value, str) else flow(value)
                label = text if group_by == "run" else f"{group_by}={text}"
            groups.setdefault(label, []).append(one.curve)
        grouped.append(groups)
    return grouped


def _over_members(label: str, curves: Sequence[Curve]) -> Curve | None:
    """One curve for a group; None if no member has a value."""
    known = [curve for curve in curves if len(curve.x)]
    if not known:
        return None
    if len(known) == 1:
        return known[0]._replace(label=label)
    # the range that all members have
    low, high = max(c.x[0] for c in known), min(c.x[-1] for c in known)
    grid = np.linspace(low, max(low, high), GRID)
    values = np.stack([np.interp(grid, curve.x, curve.y) for curve in known])
    middle, bottom, top = iqm_band(values)
    return Curve(f"{label} ({len(known)} runs)", grid, middle, bottom, top)
