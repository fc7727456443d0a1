"""Curves of runs from their logs: one per group of members, with its interval."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pgcli.arrays.statistics import CURVE_RESAMPLES, iqm_band
from pgcli.charts import svg
from pgcli.charts.base import Curve, Panel
from pgcli.charts.rows import columns
from pgcli.config.dump import flat, flow
from pgcli.config.load import of_run
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

DRAWS, FEWEST_RESAMPLES = 64 * CURVE_RESAMPLES, 100
"""Members drawn for an interval: fewer resamples of more than 64 members."""

EVALUATION = "eval."
"""Prefix of the keys of `eval.jsonl`; other keys are those of `metrics.jsonl`."""

INTERVALS = {"eval.return_mean": ("return_ci[0]", "return_ci[1]")}
"""Ends of the interval of a key, which a run on its own is drawn with."""

DEFAULT_KEYS = ("return_mean", "eval.return_mean")


class Series(NamedTuple):
    """The curve of one member of one run, and the facts that it can be grouped by."""

    facts: Mapping[str, Any]
    label: str
    curve: Curve


Groups = Mapping[str, list[Series]]
"""Members by the label of their group."""


def check_x(x: str) -> None:
    """Raises a UsageError if there is no such horizontal axis."""
    if x not in X_TITLES:
        raise UsageError(f"`--x {x}`: expected {', '.join(X_TITLES)}")


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
    groups = grouped(runs, x=x, keys=keys, group_by=group_by)
    return _panels(groups, x, ", ".join(run.name for run in runs))


def grouped(
    runs: Sequence[RunDirectory],
    *,
    x: str,
    keys: Sequence[str],
    group_by: str | None = None,
) -> dict[str, Groups]:
    """By key, the members of all runs in groups, in the order of the runs."""
    groups: dict[str, dict[str, list[Series]]] = {key: {} for key in keys}
    for run in runs:
        config = of_run(run.config_yaml).config
        for key, series in _series(run, config, x, keys).items():
            for one in series:
                label = one.label if group_by is None else _group_of(one, group_by)
                groups[key].setdefault(label, []).append(one)
    return dict(groups)


def picture(run: RunDirectory, config: RunConfig) -> str | None:
    """The SVG of a run's returns by steps; None before the first episode has ended."""
    groups: dict[str, dict[str, list[Series]]] = {}
    for key, series in _series(run, config, "steps", DEFAULT_KEYS).items():
        for one in series:
            groups.setdefault(key, {}).setdefault(one.label, []).append(one)
    try:
        return svg.chart(_panels(groups, "steps", run.name))
    except UsageError:
        return None


def _panels(groups: Mapping[str, Groups], x: str, where: str) -> list[Panel]:
    drawn = []
    for key, members_of in groups.items():
        merged = (over_members(label, each) for label, each in members_of.items())
        known = [curve for curve in merged if curve is not None]
        if known:
            drawn.append(Panel(key, X_TITLES[x], known))
        elif key not in DEFAULT_KEYS:
            raise UsageError(
                f"no run has a value of `{key}`",
                where=where,
                help="keys of metrics.jsonl, or eval.KEY for those of eval.jsonl; "
                "docs/metrics.md explains them",
            )
    if not drawn:
        raise UsageError("no episode has ended yet: there is nothing to plot")
    return drawn


def _series(
    run: RunDirectory, config: RunConfig, x: str, keys: Sequence[str]
) -> dict[str, list[Series]]:
    """By key, the curve of each member of a run."""
    all_members = members(config) if config.has_members else [None]
    clock = clock_of(run) if x == "seconds" else None
    wanted: dict[Path, list[str]] = {run.metrics_jsonl: [], run.eval_jsonl: []}
    for key in keys:
        wanted[_log(run, key)] += [
            key.removeprefix(EVALUATION),
            *INTERVALS.get(key, ()),
        ]
    logs = {
        path: columns(path, [x, "steps", "member", *names], width=len(all_members))
        for path, names in wanted.items()
    }
    found = {}
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
            alone = config if member is None else config_of(config, member)
            index = None if member is None else member.index
            facts = {**flat(alone), "run": run.name, "member": index}
            label = run.name
            if member is not None:
                own &= log["member"] == member.index
                values = ", ".join(f"{k}={v:g}" for k, v in member.values.items())
                label = f"{run.name} {values}".strip()
            ends = [log[name][own] for name in INTERVALS.get(key, ())]
            known = ends if np.isfinite(ends).any() else []
            curve = Curve(label, position[own], y[own], *known)
            of_key.append(Series(facts, label, curve))
        found[key] = of_key
    return found


def _log(run: RunDirectory, key: str) -> Path:
    return run.eval_jsonl if key.startswith(EVALUATION) else run.metrics_jsonl


def clock_of(run: RunDirectory) -> tuple[np.ndarray, np.ndarray]:
    """(steps, seconds since the run began), both from 0.

    A resumed process counts its seconds from 0 again.
    """
    timing = columns(run.timing_jsonl, ["steps", "seconds"])
    steps, seconds = (np.append(0.0, timing[key]) for key in ("steps", "seconds"))
    passed = np.diff(seconds, prepend=0.0)
    return steps, np.cumsum(np.where(passed < 0, seconds, passed))


def _group_of(one: Series, key: str) -> str:
    """The label of a member's group; a UsageError if its run has no such key."""
    if key not in one.facts:
        raise UsageError(
            f"`--group-by {key}`: no such key in {one.facts['run']}",
            help="a key of `pgcli config show`, or run",
        )
    value = one.facts[key]
    text = value if isinstance(value, str) else flow(value)
    return text if key == "run" else f"{key}={text}"


def over_members(label: str, series: Sequence[Series]) -> Curve | None:
    """One curve for a group; None if no member has a value."""
    known = [one.curve for one in series if len(one.curve.x)]
    if not known:
        return None
    if len(known) == 1:
        return known[0]._replace(label=label)
    # the range that all members have
    low, high = max(c.x[0] for c in known), min(c.x[-1] for c in known)
    grid = np.linspace(low, max(low, high), GRID)
    values = np.stack([np.interp(grid, curve.x, curve.y) for curve in known])
    resamples = min(CURVE_RESAMPLES, DRAWS // len(known))
    middle, bottom, top = iqm_band(values, max(resamples, FEWEST_RESAMPLES))
    return Curve(f"{label} ({len(known)} runs)", grid, middle, bottom, top)
