"""`docs/configuration.md` has every key of the schema.

PGCLI_UPDATE_GOLDEN=1 rewrites what is below its marker.
"""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.generated import check_generated

from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.dump import flow
from pgcli.config.fields import Field, all_fields, fields, sections
from pgcli.config.load import resolve
from pgcli.config.schema import RunConfig

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
MARKER = "<!-- Generated from the schema by tests/docs/test_configuration_page.py -->\n"
TOP = "Top level"
HEADER = "| key | value | default | meaning |\n|---|---|---|---|"


def names(algos: list[str]) -> str:
    return ", ".join(f"`{algo}`" for algo in algos)


def default_of(owners: dict[str, Field]) -> str:
    """The most common default, then the algorithms that have another."""
    having: dict[str, list[str]] = {}
    for algo, field in owners.items():
        having.setdefault(flow(field.default), []).append(algo)
    usual, *others = sorted(having, key=lambda value: -len(having[value]))
    return "; ".join(
        [f"`{usual}`", *(f"`{value}` in {names(having[value])}" for value in others)]
    )


def rows(path: str) -> Iterator[str]:
    """The row of a key; several if its meaning or values depend on the algorithm."""
    variants: dict[object, dict[str, Field]] = {}
    for algo in ALGORITHM_CONFIGS:
        if path in fields(algo):
            field = fields(algo)[path]
            variants.setdefault(field.kind, {})[algo] = field
    for owners in variants.values():
        kind = next(iter(owners.values())).kind
        only = ""
        if len(owners) < len(ALGORITHM_CONFIGS):
            only = f" ({names(list(owners))})"
        cells = f"`{path}`", kind.expected, default_of(owners), kind.doc + only
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def tables() -> str:
    """A heading and a table for each section of the configuration."""
    hints = inspect.get_annotations(RunConfig)
    parts = []
    for section in (TOP, *sections()):
        keys = [p for p in all_fields() if p.partition(".")[0] == section and "." in p]
        if section == TOP:
            keys = [path for path in all_fields() if "." not in path]
            about = "Keys outside every section."
        elif section == "algo":
            keys = [path for path in keys if path != "algo.name"]
            listed = names(list(ALGORITHM_CONFIGS))
            about = (
                f"The algorithm, `algo.name`: {listed}. Each has "
                "its own keys, see [algorithms](algorithms/README.md)."
            )
        else:
            about = inspect.getdoc(hints[section]) or ""
        heading = TOP if section == TOP else f"`{section}`"
        table = "\n".join(row for path in keys for row in rows(path))
        parts.append(f"\n### {heading}\n\n{about}\n\n{HEADER}\n{table}\n")
    return "".join(parts)


def test_page_is_that_of_the_schema() -> None:
    written = PAGE.read_text(encoding="utf-8").partition(MARKER)[0]
    check_generated(PAGE, written + MARKER + tables())


def test_page_has_every_key() -> None:
    documented = set(re.findall(r"^\| `([a-z_.0-9]+)` \|", tables(), re.MULTILINE))
    assert documented | {"algo.name"} == set(all_fields())


def test_example_of_the_page_is_accepted(tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert examples
    for text in examples:
        file = tmp_path / "my.yaml"
        file.write_text(text, encoding="utf-8")
        assert resolve(file=file, flags={}, sets=[]).config.algo.name == "ppo2"


@pytest.mark.parametrize("heading", [TOP, *(f"`{name}`" for name in sections())])
def test_every_section_is_on_the_page(heading: str) -> None:
    assert f"\n### {heading}\n" in PAGE.read_text(encoding="utf-8")
