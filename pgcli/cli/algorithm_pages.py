"""Pages of `docs/algorithms`, one per algorithm, and their index."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).resolve().parent.parent
_RULE = re.compile(r"\|(?:-+\|)+")


@dataclass(frozen=True)
class Page:
    """The Markdown document of an algorithm, parsed."""

    name: str
    text: str

    @property
    def title(self) -> str:
        """The heading, without the algorithm's name."""
        return self.text.partition("\n")[0].partition(": ")[2]

    @property
    def summary(self) -> dict[str, str]:
        """The table above the sections: New, Weight or objective, Lecture, Collects."""
        (row,) = rows(self.text.partition("\n## ")[0])
        return {name: value.strip("`") for name, value in row.items()}

    @cached_property
    def sections(self) -> dict[str, str]:
        """The text under each heading."""
        parts = self.text.split("\n## ")[1:]
        split = (part.partition("\n") for part in parts)
        return {heading: text.strip() for heading, _, text in split}

    @property
    def symbols(self) -> list[dict[str, Any]]:
        """Symbols of the equations: symbol, meaning, keys, metrics, code."""
        return [
            {
                "symbol": row["Symbol"].strip("`"),
                "meaning": row["Meaning"],
                "keys": quoted(row["Keys"]),
                "metrics": quoted(row["Metrics"]),
                "code": quoted(row["Code"]),
            }
            for row in rows(self.sections["Symbols"])
        ]

    @property
    def hyperparameters(self) -> list[dict[str, str]]:
        """Keys of the configuration: key, default, allowed, typical, effect."""
        return [
            {name.lower(): cell for name, cell in row.items()}
            | {name.lower(): row[name].strip("`") for name in ("Key", "Default")}
            for row in rows(self.sections["Hyperparameters"])
        ]

    @property
    def failures(self) -> list[dict[str, str]]:
        """Common failures: symptom, cause, remedy."""
        return [
            {name.lower(): cell for name, cell in row.items()}
            for row in rows(self.sections["What goes wrong"])
        ]


def directory() -> Path:
    """Directory of the pages: inside the wheel, or next to the package."""
    installed = _PACKAGE / "_docs" / "algorithms"
    source = _PACKAGE.parent / "docs" / "algorithms"
    return installed if installed.is_dir() else source


def read(name: str) -> Page:
    """The page of an algorithm by its real name; `README` is the index."""
    path = directory() / f"{name}.md"
    return Page(name, path.read_text(encoding="utf-8"))


def rows(text: str) -> list[dict[str, str]]:
    """Rows of the first table in a text, each as column name -> cell.

    Cells must not contain `|`.

    Raises:
      ValueError: a row and the header differ in their number of cells.
    """
    lines = iter(text.splitlines())
    header: list[str] = []
    for line in lines:
        if _RULE.fullmatch(line):
            break
        header = cells(line)
    body: list[dict[str, str]] = []
    for line in lines:
        if not line.startswith("|"):
            break
        body.append(dict(zip(header, cells(line), strict=True)))
    return body


def cells(line: str) -> list[str]:
    """Cells of one line of a table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def quoted(cell: str) -> list[str]:
    """The parts of a cell in backticks."""
    return re.findall(r"`([^`]+)`", cell)
