"""The rooms of `docs/architecture.md` and of its picture are those of the code.

PGCLI_UPDATE_GOLDEN=1 rewrites the picture and the table.
"""

import ast
import re
import textwrap
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

from support import svg
from support.generated import check_generated
from test_imports import CORE, PACKAGE, imports

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "architecture.md"
PICTURE = DOCS / "images" / "architecture.svg"
TABLE = re.compile(r"(\| room \|.*\n\|[-|]+\|\n)(?:\|.*\n)*")

MARGIN, BOX_WIDTH, BOX_HEIGHT, GAP = 24, 304, 82, 32
Graph = dict[str, set[str]]


class Room(NamedTuple):
    """A package directly below `pgcli`."""

    name: str
    about: str  # the first sentence of its docstring
    inside: tuple[str, ...]  # packages in it


@cache
def rooms() -> dict[str, Room]:
    found = {}
    for path in sorted(PACKAGE.glob("*/__init__.py")):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        about = re.split(r"\.(?:\s|$)", doc, maxsplit=1)[0]
        inside = tuple(sorted(p.parent.name for p in path.parent.glob("*/__init__.py")))
        found[path.parent.name] = Room(path.parent.name, about, inside)
    return found


@cache
def graph() -> Graph:
    """Room: the rooms that any module of it imports, anywhere in its source."""
    edges: Graph = {name: set() for name in rooms()}
    for each in imports(PACKAGE):
        ours, theirs = f"{each.importer}..".split(".")[1], f"{each.imported}.."
        if theirs.startswith("pgcli.") and ours in edges:
            edges[ours] |= {theirs.split(".")[1]} & (edges.keys() - {ours})
    return edges


def reachable(edges: Graph, start: str) -> set[str]:
    return set(edges[start]).union(*(reachable(edges, room) for room in edges[start]))


def reduced(edges: Graph) -> Graph:
    """Without the edges that a longer way implies."""
    return {
        room: {
            other
            for other in below
            if not any(other in reachable(edges, third) for third in below)
        }
        for room, below in edges.items()
    }


def ranks(edges: Graph) -> list[list[str]]:
    """Rooms by the length of the longest way to them; arrows point down."""
    order = list(TopologicalSorter(edges).static_order())[::-1]  # importers first
    rank = dict.fromkeys(order, 0)
    for room in order:
        for other in edges[room]:
            rank[other] = max(rank[other], rank[room] + 1)
    rows: list[list[str]] = [[] for _ in range(max(rank.values()) + 1)]
    for room in sorted(order):
        rows[rank[room]].append(room)
    return rows


def places(edges: Graph) -> dict[str, tuple[int, int]]:
    """Room: its (row, column), the column near those of the rooms that import it."""
    rows = ranks(edges)
    count = max(map(len, rows))
    found: dict[str, tuple[int, int]] = {}

    def wanted(room: str) -> float:
        above = [found[name][1] for name in found if room in edges[name]]
        return sum(above) / len(above) if above else (count - 1) / 2

    for row, names in enumerate(rows):
        free = set(range(count))
        for name in sorted(names, key=wanted):
            column = min(sorted(free), key=lambda at: abs(at - wanted(name)))
            free.remove(column)
            found[name] = (row, column)
    return found


def picture() -> str:
    edges = reduced(graph())
    columns = 1 + max(column for _, column in places(edges).values())
    place = {
        name: (
            MARGIN + column * (BOX_WIDTH + GAP) + BOX_WIDTH / 2,
            MARGIN + row * (BOX_HEIGHT + GAP),
        )
        for name, (row, column) in places(edges).items()
    }
    parts = []
    for room in sorted(edges):
        for other in sorted(edges[room]):
            (x, y), (to_x, to_y) = place[room], place[other]
            parts.append(svg.arrow(x, y + BOX_HEIGHT, to_x, to_y))
    for name, (x, y) in sorted(place.items()):
        room = rooms()[name]
        left, right = x - BOX_WIDTH / 2 + 12, x + BOX_WIDTH / 2 - 12
        css = "f-tint s-accent" if f"pgcli.{name}" in CORE else "f-box s-line"
        parts.append(svg.rect(left - 12, y, BOX_WIDTH, BOX_HEIGHT, css))
        parts.append(svg.text(left, y + 21, f"{name}/", "big f-ink"))
        inside = " ".join(f"{package}/" for package in room.inside)
        parts.append(svg.text(right, y + 21, inside, "small f-dim", "end"))
        about = room.about.replace("`", "")
        for line, words in enumerate(textwrap.wrap(about, 40)[:3]):
            parts.append(svg.text(left, y + 40 + 16 * line, words, "small f-dim"))
    bottom = max(y for _, y in place.values()) + BOX_HEIGHT + MARGIN
    parts.append(svg.rect(MARGIN, bottom, 18, 12, "f-tint s-accent"))
    note = "the core: arrays in, arrays out. An arrow reads “imports”."
    parts.append(svg.text(MARGIN + 26, bottom + 11, note, "small f-dim"))
    width = 2 * MARGIN + columns * (BOX_WIDTH + GAP) - GAP
    title = "Packages of pgcli and their imports, pointing down"
    return svg.document(width, bottom + 30, title, parts)


def table() -> str:
    rows = []
    for name in [name for row in ranks(graph()) for name in row]:
        room = rooms()[name]
        inside = ", ".join(f"`{package}`" for package in room.inside)
        below = ", ".join(f"`{other}`" for other in sorted(graph()[name]))
        rows.append(f"| `{name}` | {room.about} | {inside} | {below} |\n")
    return "".join(rows)


def test_picture_is_that_of_the_code() -> None:
    check_generated(PICTURE, picture())


def test_table_is_that_of_the_code() -> None:
    text = PAGE.read_text(encoding="utf-8")
    check_generated(PAGE, TABLE.sub(lambda match: match[1] + table(), text, count=1))


def test_arrows_point_down() -> None:
    place = places(graph())
    rising = [
        (room, other)
        for room, below in graph().items()
        for other in below
        if place[other][0] <= place[room][0]
    ]
    assert rising == []


def test_reduction_keeps_what_can_be_reached() -> None:
    edges = graph()
    for room in edges:
        assert reachable(reduced(edges), room) == reachable(edges, room)


def test_code_of_the_page_exists() -> None:
    """Code spans such as `training/run` and `algos/base.py` are files or folders."""
    text = PAGE.read_text(encoding="utf-8")
    for span in re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.py)?)`", text):
        path = PACKAGE.parent / span
        inside = PACKAGE / span
        known = [path, inside, inside.with_suffix(".py")]
        assert any(each.exists() for each in known) or "foo" in span, span
