"""Adding an algorithm touches four places; nothing else asks for one by name.

The places: its file in `pgcli/algos/`, its class in `pgcli/config/algorithms.py`, its
line in `pgcli/algos/__init__.py`, its page in `docs/algorithms/`.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from pgcli.config.algorithms import ALGORITHM_ALIASES, ALGORITHM_CONFIGS

PACKAGE = Path(__file__).parents[2] / "pgcli"
NAMES = {*ALGORITHM_CONFIGS, *ALGORITHM_ALIASES}
CLASSES = {config.__name__ for config in ALGORITHM_CONFIGS.values()}
OTHERS = [
    path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.parent != PACKAGE / "algos" and path != PACKAGE / "config" / "algorithms.py"
]


def mentions(source: str) -> Iterator[str]:
    """Algorithms in the code: names as strings of their own, and their classes."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Constant(value=str(text)) if text in NAMES:
                yield f"line {node.lineno}: {text!r}"
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in CLASSES:
                yield f"line {node.lineno}: {name}"
            case ast.alias(name=name) if name in CLASSES:
                yield f"line {node.lineno}: {name}"


@pytest.mark.parametrize("path", OTHERS, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_module_asks_for_no_algorithm_by_name(path: Path) -> None:
    assert list(mentions(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        'if config.algo.name == "trpo": pass',
        'STYLES = {"ppo2": "black"}',
        "isinstance(config.algo, PPO1Config)",
        "algorithms.PPO1Config",
        "from pgcli.config.algorithms import A2CConfig",
    ],
)
def test_mentions_of_an_algorithm_are_found(source: str) -> None:
    assert len(list(mentions(source))) == 1
