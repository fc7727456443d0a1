"""Curves as figures that are drawn without a script, and their data for the script."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pgcli.charts import svg
from pgcli.charts.base import Axis, Curve, Panel, axes_of, short
from pgcli.report.html.markup import Html, element, joined

WIDTH, HEIGHT = 2000, 800
"""Size of the coordinates; the page stretches them to the size of the figure."""

COLORS = 7
"""Colours in the style; further curves repeat them with dashes."""

POINTS, FEWEST = 4000, 100
"""Points of all curves of a figure, and of each curve if there are many."""

TITLES: Mapping[str, str] = {
    "return_mean": "Training return",
    "eval.return_mean": "Evaluation return",
    "length_mean": "Episode length",
    "entropy": "Entropy of the policy",
    "kl": "KL divergence of an update",
    "ess": "Effective sample size",
    "ratio_max": "Largest probability ratio",
    "clip_fraction": "Share of clipped ratios",
    "explained_variance": "Explained variance",
    "policy_loss": "Policy loss",
    "value_loss": "Value loss",
    "grad_norm": "Gradient norm",
    "lr": "Learning rate",
}
"""Headings of the most common metrics; others are shown by their key."""


class Figure(NamedTuple):
    """A figure, and the data that the script shows at the cursor."""

    markup: Html
    data: Mapping[str, Any]


def figure(panel: Panel, colors: Sequence[int], index: int) -> Figure:
    """The figure of a panel, whose title is the key of a metric, or a heading."""
    x_axis, y_axis = axes_of(panel, 4, 4)
    most = max(POINTS // len(panel.curves), FEWEST)
    curves = [thinned(curve, most) for curve in panel.curves]
    title = TITLES.get(panel.title, panel.title)
    caption = [element("b", title)]
    if title != panel.title:
        caption.append(element("code", panel.title))
    picture = element(
        "svg",
        *_grid(y_axis),
        *_lines(curves, colors, x_axis, y_axis),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
    labels = joined(
        [
            *(_label(tick, y_axis, "bottom", "y") for tick in y_axis.ticks),
            *(_label(tick, x_axis, "left", "x") for tick in x_axis.ticks),
        ]
    )
    cursor = element("i", class_="cursor", hidden=True)
    tip = element("div", class_="tip", role="status", hidden=True)
    markup = element(
        "figure",
        element("figcaption", *caption),
        element("div", picture, labels, cursor, tip, class_="area"),
        element("small", panel.x_title),
        tabindex="0",
        aria_label=f"{title} by {panel.x_title}; arrow keys show values",
        data_figure=str(index),
    )
    data = {
        "title": panel.x_title,
        "x": [x_axis.low, x_axis.high],
        "y": [y_axis.low, y_axis.high],
        "curves": [
            {
                "color": color,
                "label": curve.label,
                **{
                    name: _numbers(values)
                    for name, values in curve._asdict().items()
                    if isinstance(values, np.ndarray)
                },
            }
            for curve, color in zip(curves, colors, strict=True)
        ],
    }
    return Figure(markup, data)


def legend(labels: Sequence[str]) -> Html:
    """A button per curve that hides and shows it in all figures."""
    buttons = (
        element(
            "button",
            element("i", class_=swatch(color)),
            label,
            type="button",
            aria_pressed="true",
            data_color=str(color),
        )
        for color, label in enumerate(labels)
    )
    return element("p", *buttons, class_="legend")


def swatch(color: int) -> str:
    """Classes of a curve of this number."""
    return f"c{color % COLORS}" + (" dashed" if color // COLORS % 2 else "")


def thinned(curve: Curve, most: int) -> Curve:
    """A curve of at most `most` of its points: ends, and extremes of stretches."""
    count = len(curve.x)
    if count <= most:
        return curve
    kept = {0, count - 1}
    for part in np.array_split(np.arange(count), (most - 2) // 2):
        kept |= {part[np.argmin(curve.y[part])], part[np.argmax(curve.y[part])]}
    chosen = np.array(sorted(kept))
    kept_parts = (part if part is None else part[chosen] for part in curve[1:])
    return Curve(curve.label, *kept_parts)  # type: ignore[arg-type]


def to_script(figures: Sequence[Figure]) -> Html:
    """The data of all figures as an element that the script reads."""
    text = json.dumps([each.data for each in figures], separators=(",", ":"))
    # no text can end the element
    inside = Html(text.replace("<", "\\u003c"))
    return element("script", inside, type="application/json", id="figures")


def _grid(axis: Axis) -> Iterator[Html]:
    for tick in axis.ticks:
        height = svg.place(tick, axis, HEIGHT, 0)
        yield element("path", d=f"M0 {height:.0f}H{WIDTH}", class_="grid")


def _lines(
    curves: Sequence[Curve], colors: Sequence[int], x_axis: Axis, y_axis: Axis
) -> Iterator[Html]:
    """Bands below all lines, then the lines."""
    across = [svg.place(curve.x, x_axis, 0, WIDTH) for curve in curves]
    for curve, x, color in zip(curves, across, colors, strict=True):
        if curve.low is not None and curve.high is not None:
            low, high = (
                svg.place(end, y_axis, HEIGHT, 0) for end in (curve.low, curve.high)
            )
            around, css = svg.band(x, low, high, 0), f"band {swatch(color)}"
            yield element("path", d=around, class_=css, data_color=str(color))
    for curve, x, color in zip(curves, across, colors, strict=True):
        line = svg.path(x, svg.place(curve.y, y_axis, HEIGHT, 0), 0)
        css = f"line {swatch(color)}"
        yield element("path", d=line, class_=css, data_color=str(color))


def _label(tick: float, axis: Axis, side: str, css: str) -> Html:
    share = float(svg.place(tick, axis, 0, 100))
    return element("span", short(tick), class_=css, style=f"{side}:{share:.2f}%")


def _numbers(values: np.ndarray) -> list[float | None]:
    """Numbers with six digits; whole ones below 2⁵³ have all of theirs."""
    return [
        None
        if not np.isfinite(value)
        else int(value)
        if value == int(value) and abs(value) < 2**53
        else float(f"{value:.6g}")
        for value in values.tolist()
    ]
