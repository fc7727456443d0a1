"""Messages that `docs/troubleshooting.md` quotes are messages of the program."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"
BLOCK = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LABEL = re.compile(r"^\s*(?:error|warning|help): (.+)$", re.MULTILINE)
LEAST = 10
"""Letters of a string of the program without its placeholders, for it to count."""
ENOUGH = 20
"""Letters from which a placeholder at its end may stand for any rest."""


def quoted() -> list[str]:
    """What stands behind `error:`, `warning:` and `help:` in the page's blocks."""
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    return [message for block in blocks for message in LABEL.findall(block)]


def strings_of(tree: ast.AST) -> Iterator[list[str]]:
    """Literal parts of every string, a placeholder between each two of them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [""]
            for value in node.values:
                if isinstance(value, ast.Constant):
                    parts[-1] += str(value.value)
                else:
                    parts.append("")
            yield parts
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.split(r"\{\w*(?::[^{}]*)?\}", node.value)


@cache
def templates() -> tuple[re.Pattern[str], ...]:
    found = []
    for path in sorted((ROOT / "pgcli").rglob("*.py")):
        for parts in strings_of(ast.parse(path.read_text(encoding="utf-8"))):
            if sum(map(len, parts)) >= LEAST and "\n" not in "".join(parts):
                pattern = ".*?".join(map(re.escape, parts))
                if parts[-1] == "" and sum(map(len, parts)) >= ENOUGH:
                    pattern += ".*"  # a list, a path or foreign text at the end
                found.append(re.compile(pattern))
    return tuple(found)


def covered(message: str) -> set[int]:
    """Positions of a message that strings of the program account for."""
    positions: set[int] = set()
    for template in templates():
        for match in template.finditer(message):
            positions.update(range(*match.span()))
    return positions


@pytest.mark.parametrize("message", quoted())
def test_troubleshooting_quotes_messages_of_the_program(message: str) -> None:
    assert len(covered(message)) >= 0.6 * len(message), message


def test_check_of_messages_sees_one_that_was_reworded() -> None:
    message = "training has been stopped since all of the gradients became NaN"
    assert len(covered(message)) < 0.6 * len(message)
