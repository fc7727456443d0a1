"""Panels as one SVG: light and dark, without a plotting library."""

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from pgcli.charts.base import Axis, Panel, axes_of, short

# Okabe and Ito's colours, distinct with the common colour vision deficiencies.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7f7f7f")
WIDTH, PANEL, LEFT, RIGHT, TOP, BOTTOM, LINE = 720, 290, 64, 16, 34, 46, 18
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#333}.t{font-weight:600}"
    ".g{stroke:#e3e3e3}.a{stroke:#888}.b{fill:#fff}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.g{stroke:#3a3a3a}"
    ".a{stroke:#888}.b{fill:#161616}}"
)


def chart(panels: Sequence[Panel]) -> str:
    """The panels below each other, each with its legend if it has several curves."""
    heights = [PANEL + LINE * _legend_rows(panel) for panel in panels]
    parts, top = [], 0
    for panel, height in zip(panels, heights, strict=True):
        parts += [f'<g transform="translate(0 {top})">', *_panel(panel), "</g>"]
        top += height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" '
        f'width="{WIDTH}" height="{top}" role="img"><style>{STYLE}</style>'
        f'<rect class="b" width="{WIDTH}" height="{top}"/>'
        + "\n".join(parts)
        + "</svg>\n"
    )


def _legend_rows(panel: Panel) -> int:
    return len(panel.curves) if len(panel.curves) > 1 else 0


def _panel(panel: Panel) -> Iterator[str]:
    """Elements of one panel, its upper left corner at 0, 0."""
    x_axis, y_axis = axes_of(panel, 6, 5)
    right, bottom = WIDTH - RIGHT, PANEL - BOTTOM

    # title, grid and ticks
    yield _text(LEFT, 20, panel.title, ' class="t"')
    for tick in y_axis.ticks:
        up = float(place(tick, y_axis, bottom, TOP))
        yield f'<path class="g" d="M{LEFT} {up:.1f}H{right}"/>'
        yield _text(LEFT - 6, up + 4, short(tick), ' text-anchor="end"')
    for tick in x_axis.ticks:
        along = float(place(tick, x_axis, LEFT, right))
        yield f'<path class="a" d="M{along:.1f} {bottom}v4"/>'
        yield _text(along, bottom + 17, short(tick), ' text-anchor="middle"')
    yield f'<path class="a" d="M{LEFT} {bottom}H{right}"/>'
    yield _text((LEFT + right) / 2, bottom + 33, panel.x_title, ' text-anchor="middle"')

    # bands below all lines, then lines, then the legend
    colors = [COLORS[i % len(COLORS)] for i in range(len(panel.curves))]
    places = [place(curve.x, x_axis, LEFT, right) for curve in panel.curves]
    for curve, x, color in zip(panel.curves, places, colors, strict=True):
        if curve.low is not None and curve.high is not None:
            low, high = (
                place(end, y_axis, bottom, TOP) for end in (curve.low, curve.high)
            )
            around = band(x, low, high)
            yield f'<path d="{around}" fill="{color}" fill-opacity=".18"/>'
    for curve, x, color in zip(panel.curves, places, colors, strict=True):
        line = path(x, place(curve.y, y_axis, bottom, TOP))
        yield (
            f'<path d="{line}" fill="none" stroke="{color}" stroke-width="1.6" '
            f'stroke-linecap="round"><title>{escape(curve.label)}</title></path>'
        )
    if _legend_rows(panel):
        for row, (curve, color) in enumerate(zip(panel.curves, colors, strict=True)):
            base = PANEL + LINE * row + 8
            yield f'<path d="M{LEFT} {base - 4}h18" stroke="{color}" stroke-width="3"/>'
            yield _text(LEFT + 26, base, curve.label)


def place(
    value: np.ndarray | float, axis: Axis, start: float, end: float
) -> np.ndarray:
    """Coordinates of values on an axis that is drawn from `start` to `end`."""
    share = (np.asarray(value, float) - axis.low) / (axis.high - axis.low or 1.0)
    return start + share * (end - start)


def path(x: np.ndarray, y: np.ndarray, digits: int = 1) -> str:
    """Path data through the finite points; a point on its own becomes a dot."""
    data, pen = [], "M"
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        if a == a and b == b:
            data.append(f"{pen}{a:.{digits}f} {b:.{digits}f}")
            pen = "L"
        else:
            pen = "M"
    return "".join(data) + ("h0" if len(data) == 1 else "")


def band(x: np.ndarray, low: np.ndarray, high: np.ndarray, digits: int = 1) -> str:
    """Path data around the area between two lines, where both are finite."""
    known = np.isfinite(low) & np.isfinite(high)
    across = np.concatenate([x[known], x[known][::-1]])
    return path(across, np.concatenate([low[known], high[known][::-1]]), digits) + "Z"


def _text(x: float, y: float, text: str, attributes: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(text)}</text>'
