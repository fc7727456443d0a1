"""Pictures of the documents as SVG text, for light and for dark backgrounds."""

from html import escape

COLORS = {
    "page": ("#ffffff", "#0d1117"),
    "ink": ("#1f2328", "#e6edf3"),
    "dim": ("#59636e", "#b1bac4"),
    "line": ("#818b98", "#6e7681"),
    "box": ("#eef2f6", "#21262d"),
    "accent": ("#0969da", "#58a6ff"),
    "tint": ("#ddf4ff", "#0d2a52"),
}
"""Name: (on light, on dark). Classes `f-NAME` fill with a colour, `s-NAME` stroke."""

FONT = 'system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif'


def _rules(side: int) -> str:
    return "".join(
        f".f-{name}{{fill:{pair[side]}}}.s-{name}{{stroke:{pair[side]}}}"
        for name, pair in COLORS.items()
    )


def document(width: int, height: int, title: str, parts: list[str]) -> str:
    """A picture on a background of its own, in the colours that the reader prefers."""
    style = (
        f"text{{font:13px {FONT}}}.big{{font-size:15px;font-weight:600}}"
        f".small{{font-size:12px}}{_rules(0)}"
        f"@media (prefers-color-scheme:dark){{{_rules(1)}}}"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
            f'height="{height}" viewBox="0 0 {width} {height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{style}</style>",
            f'<rect class="f-page" width="{width}" height="{height}" rx="8"/>',
            *parts,
            "</svg>\n",
        ]
    )


def text(
    x: float, y: float, content: str, css: str = "f-ink", anchor: str = "start"
) -> str:
    """One line of text; `y` is its baseline."""
    return (
        f'<text x="{x:g}" y="{y:g}" class="{css}" text-anchor="{anchor}">'
        f"{escape(content)}</text>"
    )


def rect(x: float, y: float, width: float, height: float, css: str) -> str:
    """A rectangle with rounded corners."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5" '
        f'class="{css}"/>'
    )


def arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    """A curve that leaves and arrives vertically, with a head at its end."""
    bend = (to_y - y) / 2
    tip = to_y - 7
    return (
        f'<path d="M{x:g} {y:g}C{x:g} {y + bend:g} {to_x:g} {tip - bend:g} '
        f'{to_x:g} {tip:g}" fill="none" class="s-line" stroke-width="1.5"/>'
        f'<path d="M{to_x - 5:g} {tip:g}h10L{to_x:g} {to_y:g}z" class="f-line"/>'
    )
