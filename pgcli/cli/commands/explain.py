"""`pgcli explain [ALGO]`: the pages of `docs/algorithms`.

`NOTES` lists the keys of `--json`. `below` is the previous algorithm, or null;
`sections` contains the Markdown under each heading.
"""

import shutil
from typing import Annotated, Any

import typer

from pgcli.cli import algorithm_pages, completers
from pgcli.cli.command import Command
from pgcli.cli.terminal.console import Terminal
from pgcli.config.algorithms import ALGORITHM_ALIASES, ALGORITHM_CONFIGS
from pgcli.config.fields import real_name
from pgcli.errors import UsageError

EXAMPLES = """\
pgcli explain
pgcli explain ppo1
pgcli explain ppo1 > ppo1.md
pgcli explain trpo --json | jq '.failures[]'"""

NOTES = """\
The page is formatted on a terminal, and plain Markdown otherwise.

Keys are those of `--set`; metrics are those of metrics.jsonl.

JSON
  with ALGO  name, aliases, below, title, new, formula, lecture, collects,
             sections {heading: Markdown},
             symbols [{symbol, meaning, keys, metrics, code}],
             hyperparameters [{key, default, allowed, typical, effect}],
             failures [{symptom, cause, remedy}]
  without    ladder [{name, aliases, new, formula, lecture, collects}]"""

Algorithm = Annotated[
    str | None,
    typer.Argument(
        metavar="ALGO",
        help="algorithm or alias; without it, all are listed",
        autocompletion=completers.complete_algorithm,
    ),
]

MAX_WIDTH = 100


def explain(terminal: Terminal, algo: Algorithm = None) -> None:
    """Explain an algorithm, or list all algorithms."""
    if algo is None:
        page = algorithm_pages.read("README")
        data = {
            "ladder": [
                _summary(algorithm_pages.read(name)) for name in ALGORITHM_CONFIGS
            ]
        }
    else:
        page = algorithm_pages.read(_real_name(algo))
        data = _details(page) if terminal.json else {}
    text = page.text.rstrip("\n")
    if terminal.formats:
        from pgcli.cli.terminal.markdown import render

        width = min(MAX_WIDTH, shutil.get_terminal_size().columns)
        text = render(text, width, color=not terminal.no_color)
    terminal.answer(text, {"ok": True} | data)


def _real_name(name: str) -> str:
    """See `real_name`; a dotted path is probably a key of the configuration."""
    try:
        return real_name(name)
    except UsageError as error:
        if "." in name:
            error.help = f"a key of the configuration: pgcli config explain {name}"
        raise


def _summary(page: algorithm_pages.Page) -> dict[str, Any]:
    summary = page.summary
    return {
        "name": page.name,
        "aliases": [a for a, real in ALGORITHM_ALIASES.items() if real == page.name],
        "new": summary["New"],
        "formula": summary["Weight or objective"],
        "lecture": summary["Lecture"],
        "collects": summary["Collects"],
    }


def _details(page: algorithm_pages.Page) -> dict[str, Any]:
    names = list(ALGORITHM_CONFIGS)
    place = names.index(page.name)
    return {
        **_summary(page),
        "below": names[place - 1] if place else None,
        "title": page.title,
        "sections": page.sections,
        "symbols": page.symbols,
        "hyperparameters": page.hyperparameters,
        "failures": page.failures,
    }


COMMAND = Command(explain, EXAMPLES, NOTES)
