"""`pgcli report`: runs as one HTML page that needs no network."""

import base64
import datetime
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pgcli
from pgcli.charts.base import Panel
from pgcli.errors import UsageError
from pgcli.report import compare
from pgcli.report.html import figures, sections, videos
from pgcli.report.html.figures import Figure
from pgcli.report.html.markup import Html, element, section
from pgcli.report.overview import Overview
from pgcli.storage import curves, files, json_files
from pgcli.storage.run_directory import RunDirectory

SUFFIXES = (".html", ".htm")

COUNTERS = {"iteration", "steps", "episodes", "member", "seed"}
"""Columns of metrics.jsonl that are no curves."""

PROFILE = "Share of runs above a final evaluation return"

PROFILED = 3
"""Runs of a group from which a performance profile says something."""


def write(
    runs: Sequence[RunDirectory],
    out: Path,
    *,
    x: str = "steps",
    group_by: str | None = None,
    threshold: float | None = None,
) -> dict[str, Any]:
    """Writes the page; returns what is on it.

    Args:
      runs: the runs; a run that is named twice is shown once.
      out: the file.
      x: horizontal axis of the curves, as in `pgcli plot`.
      group_by: key of the configuration whose values are the curves.
      threshold: evaluation return of which the first step is reported.

    Raises:
      UsageError: there is no such key, or the file cannot be written.
      PgcliError: a file of a run is damaged.
    """
    runs = list({run.path.resolve(): run for run in runs}.values())
    overviews = [Overview.of(run) for run in runs]
    found = videos.find(runs)
    drawn: list[Figure] = []
    compared: list[Mapping[str, Any]] = []
    middle = []
    several = len({run.config.env.id for run in overviews}) > 1
    for env, alike in sections.by_environment(overviews):
        where = f" on {env}" if several else ""
        directories = [run.run for run in alike]
        groups = curves.grouped(directories, x=x, keys=_keys(alike), group_by=group_by)
        result = _compared(directories, groups, group_by, threshold)
        if result is not None:
            compared.append(result)
            middle.append(section(f"Comparison{where}", sections.comparison(result)))
        middle.append(_curves(f"Curves{where}", groups, result, x, drawn))
    body = [
        _header(overviews),
        sections.results(overviews),
        sections.differences(overviews),
        *middle,
        sections.members(overviews),
        sections.diagnostics(overviews),
        videos.films(found),
        sections.configuration(overviews),
        sections.machines(overviews),
        _footer(),
    ]
    title = ", ".join(run.name for run in runs)
    text = _document(title, body, figures.to_script(drawn))
    try:
        files.replace_bytes(out, text.encode())
    except OSError as error:
        raise UsageError(f"`-o {out}`: {error.strerror or error}") from error
    return {
        "path": str(out),
        "bytes": out.stat().st_size,
        "runs": [run.name for run in runs],
        "figures": len(drawn),
        "videos": [{**video._asdict(), "path": str(video.path)} for video in found],
        "comparisons": compared,
    }


def _keys(runs: Sequence[Overview]) -> list[str]:
    """Metrics of the runs: the returns, then common ones, then others."""
    known: dict[str, None] = {}
    for run in runs:
        dropped = COUNTERS | set(run.config.grid)
        for row in json_files.last_rows(run.run.metrics_jsonl):
            known |= dict.fromkeys(key for key in row if key not in dropped)
            # of use only to see that no update was skipped
            if not row.get("skipped"):
                known.pop("skipped", None)
    common = [key for key in figures.TITLES if key in known or "return" in key]
    return [*common, *(key for key in known if key not in figures.TITLES)]


def _compared(
    runs: Sequence[RunDirectory],
    groups: Mapping[str, curves.Groups],
    group_by: str | None,
    threshold: float | None,
) -> dict[str, Any] | None:
    """The comparison; None with fewer than two groups of evaluated runs."""
    if len(groups[compare.EVALUATED]) < 2:
        return None
    try:
        result = compare.compare(runs, group_by=group_by, threshold=threshold)
    except UsageError:  # none has been evaluated yet
        return None
    return result if len(result["groups"]) > 1 else None


def _curves(
    title: str,
    groups: Mapping[str, curves.Groups],
    result: Mapping[str, Any] | None,
    x: str,
    drawn: list[Figure],
) -> Html:
    """The section of the curves; its figures are added to `drawn`."""
    labels = list(groups[compare.EVALUATED])
    large: list[Html] = []
    small: list[Html] = []
    for panel in _panels(groups, result, x):
        colors = [labels.index(curve.label) for curve in panel.curves]
        one = figures.figure(panel, colors, len(drawn))
        drawn.append(one)
        (large if "return" in panel.title else small).append(one.markup)
    if not large + small:
        return section(title, element("p", "No iteration has been logged yet."))
    counts = {label: len(each) for label, each in groups[compare.EVALUATED].items()}
    text = "Hover, touch, or use the arrow keys on a figure to see its values."
    if max(counts.values()) > 1:
        text += (
            " Curves over several runs: interquartile mean, and its 95 % bootstrap "
            "interval."
        )
    return section(
        title,
        figures.legend(labels) if len(labels) > 1 else Html(),
        element("div", *large, class_="figures large"),
        element("div", *small, class_="figures"),
        element("p", text, class_="dim"),
    )


def _panels(
    groups: Mapping[str, curves.Groups], result: Mapping[str, Any] | None, x: str
) -> Iterator[Panel]:
    for key, each in groups.items():
        merged = (curves.over_members(label, group) for label, group in each.items())
        known = [
            curve._replace(label=label)
            for label, curve in zip(each, merged, strict=True)
            if curve is not None
        ]
        if known:
            yield Panel(key, curves.X_TITLES[x], known)
    if result and max(row["runs"] for row in result["groups"]) >= PROFILED:
        yield compare.profiles(result)._replace(title=PROFILE)


def _header(runs: Sequence[Overview]) -> Html:
    if len(runs) == 1:
        title, text = runs[0].run.name, runs[0].title
    else:
        title = f"{len(runs)} runs"
        text = ", ".join(env for env, _ in sections.by_environment(runs))
    return element("header", element("h1", title), element("p", text, class_="dim"))


def _footer() -> Html:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return element("footer", f"pgcli {pgcli.__version__}, {now}")


def _document(title: str, body: Sequence[Html], data: Html) -> str:
    """The page; its policy allows this script and nothing from elsewhere."""
    here = Path(__file__).parent
    style, script = (
        (here / name).read_text(encoding="utf-8") for name in ("page.css", "page.js")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; "
        "style-src 'unsafe-inline'; img-src data:; media-src data: blob:"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("link", rel="icon", href="data:,"),
        element("style", Html(style)),
    )
    main = element("main", *body)
    page = element("body", main, data, element("script", Html(script)))
    return f"<!doctype html>\n{element('html', head, page, lang='en')}\n"
