"""`docs/images/speed.svg` shows figures of `docs/performance.md`.

PGCLI_UPDATE_GOLDEN=1 draws it again.
"""

import re
from pathlib import Path

from support import svg
from support.generated import check_generated

DOCS = Path(__file__).parents[2] / "docs"
PICTURE = DOCS / "images" / "speed.svg"
PANELS = {
    "device, 64 × 128, two CPU devices": "gymnax:CartPole-v1, 64 environments",
    "host HalfCheetah-v5, 1 × 2048, 10 × 32": "HalfCheetah-v5, 1 environment",
    "host CartPole, 4 × 128, 4 × 4": "Gymnasium's CartPole-v1, 4 environments",
    "host LunarLander-v3, 16 × 1024, 4 × 256": "LunarLander-v3, 16 environments",
}
"""Row of the table under Speed: title of its panel."""

WIDTH, LEFT, LONGEST = 860, 190, 520
BAR, PITCH, TITLE = 16, 24, 30


def rates(shape: str) -> dict[str, int]:
    """Steps per second by program, pgcli first, of one row of the table."""
    text = (DOCS / "performance.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| {re.escape(shape)} \| ([\d,]+) \| (.*?) \|", text, re.M)
    assert row is not None, shape
    found = {"pgcli": row[1]} | dict(re.findall(r"([A-Z][\w ]*?) ([\d,]+)", row[2]))
    return {name: int(rate.replace(",", "")) for name, rate in found.items()}


def picture() -> str:
    """Bars of steps per second, one scale for each panel."""
    parts = [svg.text(24, 32, "Environment steps per second, training", "big f-ink")]
    y = 56.0
    for shape, title in PANELS.items():
        found = rates(shape)
        parts.append(svg.text(LEFT, y + 12, title, "small f-dim"))
        y += TITLE - 8
        for name, rate in found.items():
            length = LONGEST * rate / max(found.values())
            bar = "f-accent" if name == "pgcli" else "f-line"
            middle = y + BAR - 3.5
            parts.append(svg.text(LEFT - 10, middle, name, "f-ink", "end"))
            parts.append(svg.rect(LEFT, y, length, BAR, bar))
            parts.append(svg.text(LEFT + length + 8, middle, f"{rate:,}"))
            y += PITCH
        y += 12
    note = "Two CPU cores, no GPU, PPO, the same shapes. Every group has its own scale."
    parts.append(svg.text(LEFT, y + 8, note, "small f-dim"))
    return svg.document(
        WIDTH, int(y) + 28, "Steps per second of pgcli and peers", parts
    )


def test_chart_is_that_of_the_page() -> None:
    check_generated(PICTURE, picture())


def test_rates_are_read_with_every_peer() -> None:
    row = "device, 64 × 128, two CPU devices"
    assert list(rates(row)) == ["pgcli", "PureJaxRL", "Rejax"]
    row = "host LunarLander-v3, 16 × 1024, 4 × 256"
    assert list(rates(row)) == ["pgcli", "SBX", "SB3"]
