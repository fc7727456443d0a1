"""The layers: cli → reports → training → core; nothing heavy before a command needs it.

Imports are read from the source, not from `sys.modules`, so that an import inside a
function or under `TYPE_CHECKING` counts too where a layer is concerned.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "pgcli"

CORE = (
    "pgcli.algos",
    "pgcli.nn",
    "pgcli.envs",
    "pgcli.rollout",
    "pgcli.arrays",
)
LEAVES = (
    "pgcli.errors",
    "pgcli.cache",
    "pgcli.extras",
    "pgcli.suggest",
    "pgcli.config.schema",
    "pgcli.config.algorithms",
    "pgcli.config.env_wrappers",
)
ARRAYS = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "gymnasium")
HEAVY = (*ARRAYS, "pydantic", "ruamel", "matplotlib", "optuna")
REPORTS = (
    "pgcli.sweep",
    "pgcli.ladder",
    "pgcli.report",
    "pgcli.export",
    "pgcli.diagnose",
)
BELOW_REPORTS = ("pgcli.training", "pgcli.storage", "pgcli.config")
BELOW_CLI = (*REPORTS, *BELOW_REPORTS)

# (who, must not import, except); all of them hold.
RULES: tuple[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    (("pgcli",), ("click", "pickle", "cloudpickle"), ()),
    (CORE, ("typer", "rich", "pydantic", "ruamel"), ()),
    (CORE, ("pgcli",), (*CORE, *LEAVES, "pgcli.versions")),
    (tuple(c for c in CORE if c != "pgcli.envs"), ("gymnasium",), ()),
    (BELOW_CLI, ("pgcli.cli", "typer"), ()),
    (BELOW_REPORTS, REPORTS, ()),
    (REPORTS, ("rich",), ()),
    (("pgcli.config",), ("pgcli.training", "pgcli.storage", *ARRAYS), ()),
    (LEAVES, (*HEAVY, "rich", "typer"), ()),
)


class Import(NamedTuple):
    """`importer` names `imported`; `eager` if that runs when `importer` is loaded."""

    importer: str
    imported: str
    line: int
    eager: bool


def within(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == p or module.startswith(f"{p}.") for p in packages)


def module_name(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(node: ast.AST, importer: str, is_package: bool) -> list[str]:
    """What one node imports: `from a import b` gives `a.b`, which may be a module."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=base, names=names, level=level):
            if level:
                above = importer.split(".")[: None if is_package else -1]
                above = above[: len(above) - level + 1]
                base = ".".join([*above, *([base] if base else [])])
            return [f"{base}.{alias.name}" for alias in names]
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__")
            | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return [name]
    return []


def walk(node: ast.AST, eager: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """Every node below, and whether it runs when the module is loaded."""
    for child in ast.iter_child_nodes(node):
        yield child, eager
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for part in child.body:
                yield part, False
                yield from walk(part, False)
            for part in child.orelse:
                yield part, eager
                yield from walk(part, eager)
        else:
            function = isinstance(
                child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
            )
            yield from walk(child, eager and not function)


def imports(package: Path) -> list[Import]:
    """Every import of every module of `package`."""
    found = []
    for path in sorted(package.rglob("*.py")):
        importer = module_name(path, package)
        for node, eager in walk(ast.parse(path.read_text(encoding="utf-8"))):
            found += [
                Import(importer, imported, getattr(node, "lineno", 0), eager)
                for imported in imported_names(
                    node, importer, path.name == "__init__.py"
                )
            ]
    return found


def layer_violations(package: Path) -> list[str]:
    return [
        f"{found.importer}:{found.line} imports {found.imported}"
        for found in imports(package)
        for importers, forbidden, allowed in RULES
        if within(found.importer, importers)
        and within(found.imported, forbidden)
        and not within(found.imported, allowed)
    ]


def heavy_at_start(package: Path) -> list[str]:
    """Chains of imports by which loading a CLI module loads something heavy."""
    modules = {module_name(path, package) for path in package.rglob("*.py")}
    eager: dict[str, set[str]] = {module: set() for module in modules}
    for found in imports(package):
        if found.eager:
            eager[found.importer].add(found.imported)

    def loaded(name: str) -> list[str]:
        """The modules of the package that importing `name` loads, parents included."""
        parts = name.split(".")
        prefixes = [".".join(parts[: i + 1]) for i in range(len(parts))]
        return [prefix for prefix in prefixes if prefix in modules]

    violations = []
    chains = [
        (m,)
        for m in sorted(modules)
        if within(m, ("pgcli.cli", "pgcli.__main__")) or m == "pgcli"
    ]
    seen = set(chains)
    while chains:
        chain = chains.pop()
        for name in sorted(eager[chain[-1]]):
            if within(name, HEAVY):
                violations.append(" -> ".join((*chain, name)))
            for module in loaded(name):
                if (module,) not in seen:
                    seen.add((module,))
                    chains.append((*chain, module))
    return violations


def cycles(package: Path) -> list[list[str]]:
    """Groups of modules that import each other, also from inside functions."""
    modules = {module_name(path, package) for path in package.rglob("*.py")}
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for found in imports(package):
        name = found.imported
        while name not in modules and name:
            name = name.rpartition(".")[0]  # `a.b` may be an attribute of `a`
        if name and name != found.importer:
            graph[found.importer].add(name)

    def reachable(start: str) -> set[str]:
        seen, todo = set[str](), [start]
        while todo:
            new = graph[todo.pop()] - seen
            seen |= new
            todo += new
        return seen

    reach = {module: reachable(module) for module in modules}
    circles = {
        tuple(sorted(m for m in reach[module] if module in reach[m]))
        for module in modules
    }
    return [list(circle) for circle in sorted(circles) if circle]


def test_layers_point_one_way() -> None:
    assert layer_violations(PACKAGE) == []


def test_no_modules_import_each_other() -> None:
    assert cycles(PACKAGE) == []


def test_cli_imports_nothing_heavy_at_start() -> None:
    assert heavy_at_start(PACKAGE) == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small package with the layers of the real one, in which all is well."""
    files = {
        "__init__.py": "def __getattr__(name):\n    import pgcli.training.run\n",
        "errors.py": "from enum import IntEnum\n",
        "arrays/__init__.py": "",
        "arrays/shapes.py": "from jax import Array\n",
        "config/__init__.py": "",
        "config/schema.py": "from pgcli.config.algorithms import PPO2Config\n",
        "config/algorithms.py": "from dataclasses import dataclass\n",
        "config/load.py": "import pydantic\nimport pgcli.config.schema\n",
        "algos/__init__.py": "",
        "algos/ppo2.py": "import jax\nfrom pgcli.config import schema\n",
        "nn/__init__.py": "",
        "nn/policy.py": "from pgcli import errors\nimport flax\n",
        "envs/__init__.py": "",
        "envs/device/__init__.py": "",
        "envs/device/functional.py": "def make():\n    import gymnasium\n",
        "rollout/__init__.py": "",
        "rollout/device_collector.py": "from pgcli.envs.device import functional\n",
        "training/__init__.py": "",
        "training/run.py": "import jax, gymnasium, pgcli.config.load\n",
        "ladder/__init__.py": "",
        "ladder/comparison.py": (
            "import numpy\nfrom pgcli.training.run import train\n"
            "def draw():\n    import matplotlib\n"
        ),
        "cli/__init__.py": "",
        "cli/commands/__init__.py": "",
        "cli/main.py": "import typer\nfrom pgcli.cli.commands import train\n",
        "cli/commands/train.py": (
            "from typing import TYPE_CHECKING\n"
            "from pgcli import errors\n"
            "if TYPE_CHECKING:\n    import numpy\n"
            "def train():\n    from pgcli.training.run import train\n"
        ),
    }
    package = tmp_path / "pgcli"
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text, encoding="utf-8")
    return package


def plant(package: Path, file: str, text: str) -> None:
    with (package / file).open("a", encoding="utf-8") as stream:
        stream.write(text)


def test_layers_accept_a_tree_that_keeps_them(tree: Path) -> None:
    assert layer_violations(tree) == []
    assert heavy_at_start(tree) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("algos/ppo2.py", "import rich.console\n"),
        ("nn/policy.py", "def f():\n    from typer import echo\n"),
        ("envs/device/functional.py", "import pydantic\n"),
        ("rollout/device_collector.py", "import ruamel.yaml\n"),
        ("rollout/device_collector.py", "import gymnasium\n"),
        ("algos/ppo2.py", "from pgcli.training import run\n"),
        ("algos/ppo2.py", "from ..training import run\n"),
        ("nn/policy.py", "from pgcli.config import load\n"),
        ("nn/policy.py", "import pgcli.cli.main\n"),
        ("nn/policy.py", "from pgcli import __version__\n"),
        ("arrays/shapes.py", "from pgcli.storage.loggers import LOGGERS\n"),
        ("training/run.py", "from pgcli import cli\n"),
        ("training/run.py", "def f():\n    import pgcli.cli.terminal\n"),
        ("training/run.py", "def f():\n    import pgcli.ladder.comparison\n"),
        ("ladder/comparison.py", "from pgcli.cli import terminal\n"),
        ("ladder/comparison.py", "import rich\n"),
        ("algos/ppo2.py", "from pgcli.ladder import comparison\n"),
        ("training/run.py", "if TYPE_CHECKING:\n    from pgcli.cli import terminal\n"),
        ("config/load.py", "from pgcli.training.run import train\n"),
        ("config/load.py", "import jax\n"),
        ("config/schema.py", "import pydantic\n"),
        ("errors.py", "from rich import print\n"),
        ("cli/main.py", "import click\n"),
        ("cli/main.py", "try:\n    from click import echo\nexcept: pass\n"),
        ("training/run.py", "import pickle\n"),
        ("training/run.py", "m = importlib.import_module('pickle')\n"),
        ("training/run.py", "m = __import__('pickle')\n"),
    ],
)
def test_layers_refuse_a_planted_import(tree: Path, file: str, text: str) -> None:
    plant(tree, file, text)
    assert len(layer_violations(tree)) == 1


@pytest.mark.parametrize(
    ("file", "text", "circle"),
    [
        (
            "nn/policy.py",
            "def f():\n    from pgcli.algos.ppo2 import update\n",
            None,
        ),
        ("config/algorithms.py", "import pgcli.config.schema\n", "config.schema"),
        (
            "config/algorithms.py",
            "def f():\n    from pgcli.config import schema\n",
            "config.schema",
        ),
        (
            "config/algorithms.py",
            "if TYPE_CHECKING:\n    from pgcli.config.load import f\n",
            "config.load",
        ),
        ("algos/ppo2.py", "import pgcli.algos.ppo2\n", None),
    ],
)
def test_cycles_are_found_also_inside_functions(
    tree: Path, file: str, text: str, circle: str | None
) -> None:
    assert cycles(tree) == []
    plant(tree, file, text)
    if circle is None:
        assert cycles(tree) == []
    else:
        (found,) = cycles(tree)
        assert {"pgcli.config.algorithms", f"pgcli.{circle}"} <= set(found)


@pytest.mark.parametrize(
    ("file", "text", "chain"),
    [
        ("cli/commands/train.py", "import jax\n", "pgcli.cli.commands.train -> jax"),
        ("cli/main.py", "import numpy.random\n", "pgcli.cli.main -> numpy.random"),
        ("cli/main.py", "try:\n    import gymnasium\nexcept: pass\n", "gymnasium"),
        ("cli/main.py", "class A:\n    import ruamel.yaml\n", "-> ruamel.yaml"),
        ("cli/main.py", "from . import terminal\n", None),
        ("cli/main.py", "from pgcli.config.load import f\n", "load -> pydantic"),
        (
            "cli/main.py",
            "from pgcli.training import run\n",
            "pgcli.training.run -> jax",
        ),
        ("cli/main.py", "from pgcli.ladder import comparison\n", "comparison -> numpy"),
        ("config/__init__.py", "import jax\n", None),
        ("errors.py", "import jax\n", "pgcli.errors -> jax"),
        (
            "__init__.py",
            "import pgcli.training.run\n",
            "pgcli -> pgcli.training.run -> jax",
        ),
        (
            "cli/commands/train.py",
            "if TYPE_CHECKING: pass\nelse:\n    import jax\n",
            "-> jax",
        ),
    ],
)
def test_cli_refuses_a_planted_heavy_import(
    tree: Path, file: str, text: str, chain: str | None
) -> None:
    plant(tree, file, text)
    found = heavy_at_start(tree)
    if chain is None:
        assert found == []
    else:
        assert any(chain in violation for violation in found)
