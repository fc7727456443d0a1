"""`pgcli explain [ALGO]`.

`NOTES` lists what `--json` has. `below` is the rung below, or null; `objective` and
`update` are lines of mathematics; `config` has dotted paths, `metrics` keys of
metrics.jsonl; every other value is a text, or a list of texts.
"""

import dataclasses
import re
import shutil
import textwrap
from collections.abc import Iterator
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pgcli.cli import options
from pgcli.cli.ui import Terminal, table
from pgcli.config.algorithms import ALGORITHM_ALIASES, ALGORITHM_CONFIGS
from pgcli.errors import UsageError

if TYPE_CHECKING:
    from pgcli.cli.explanations import Explanation

EXAMPLES = """\
pgcli explain
pgcli explain ppo1
pgcli explain trpo --json | jq '.failures[]'"""

NOTES = """\
Keys are those of `--set`, metrics those of metrics.jsonl.

JSON
  with ALGO  name, aliases, below, title, new, formula, objective, update, idea,
             notes, lecture, papers [{authors, year, source, part}],
             terms [{symbol, meaning, config, metrics}],
             failures [{symptom, cause, remedy}]
  without    ladder [{name, aliases, new, formula, lecture, collects}]"""

Algorithm = Annotated[
    str | None,
    typer.Argument(
        metavar="ALGO",
        help="algorithm or alias; without it, all of them as a table",
        autocompletion=options.complete_algorithm,
    ),
]

MAX_WIDTH = 80
LEGEND = """\
Each row keeps what the rows above it have, but for what it replaces.
R return of an episode, G_t of its rest, b baseline, Â_t advantage by V,
r = π_θ/π_θ' ratio to the policy that acted. § section of the lecture notes.
The variance of the gradient falls on the way to a2c, by no theorem; a
counterexample: pgcli explain reinforce-baseline"""


def explain(terminal: Terminal, algo: Algorithm = None) -> None:
    """Explain an algorithm, or show all of them as a ladder."""
    from pgcli.cli.explanations import EXPLANATIONS

    if algo is None:
        rungs = list(EXPLANATIONS.values())
        terminal.answer(ladder(rungs), {"ok": True, "ladder": [*map(_row, rungs)]})
        return
    name = real_name(algo)
    rung, names = EXPLANATIONS[name], list(EXPLANATIONS)
    below = names[names.index(name) - 1] if name != names[0] else None
    data = {"ok": True, "name": name, "aliases": aliases(name), "below": below}
    width = max(60, min(MAX_WIDTH, shutil.get_terminal_size().columns))
    terminal.answer("\n".join(lines(rung, width)), data | dataclasses.asdict(rung))


def real_name(name: str) -> str:
    """The algorithm of a name or an alias.

    Raises:
      UsageError: there is none.
    """
    real = ALGORITHM_ALIASES.get(name, name)
    if real in ALGORITHM_CONFIGS:
        return real
    near = get_close_matches(
        name.lower().replace("_", "-"), [*ALGORITHM_CONFIGS, *ALGORITHM_ALIASES], 1
    )
    help = f"there are {', '.join(ALGORITHM_CONFIGS)}"
    if near:
        help = f"did you mean `{ALGORITHM_ALIASES.get(near[0], near[0])}`?"
    elif "." in name:
        help = f"a key of the configuration: pgcli config explain {name}"
    raise UsageError(f"unknown algorithm `{name}`", help=help)


def aliases(name: str) -> list[str]:
    """Other names of an algorithm."""
    return [alias for alias, real in ALGORITHM_ALIASES.items() if real == name]


def ladder(rungs: "list[Explanation]") -> str:
    """All algorithms as a table, from the lowest rung up."""
    rows = [(rung.name, rung.new, rung.formula, rung.section) for rung in rungs]
    header = ("ALGO", "WHAT IS NEW", "WEIGHT OR OBJECTIVE", "§")
    return f"{table(rows, header)}\n\n{LEGEND}"


def _row(rung: "Explanation") -> dict[str, Any]:
    return {
        "name": rung.name,
        "aliases": aliases(rung.name),
        "new": rung.new,
        "formula": rung.formula,
        "lecture": rung.lecture,
        "collects": ALGORITHM_CONFIGS[rung.name].collects,
    }


def lines(rung: "Explanation", width: int) -> Iterator[str]:
    """An explanation as text; formulas are never broken."""
    also = "".join(f" (alias {alias})" for alias in aliases(rung.name))
    yield from _wrapped(f"{rung.name}{also} · {rung.title}", width, "")
    yield from ("", "Objective", *(f"  {line}" for line in rung.objective))
    yield from ("", "Update", *(f"  {line}" for line in rung.update))
    yield from ("", "Idea", *_wrapped(rung.idea, width, "  "))
    yield from ("", "Notes")
    for note in rung.notes:
        yield from _wrapped(note, width, "  - ")
    yield from ("", "Source", *_wrapped(rung.lecture, width, "  lecture  "))
    for paper in rung.papers:
        yield from _wrapped(str(paper), width, "  paper    ")
    yield from ("", "Terms, with their keys and metrics")
    for term in rung.terms:
        yield f"  {term.symbol}"
        yield from _wrapped(term.meaning, width, "    ")
        for label, names in (("keys", term.config), ("metrics", term.metrics)):
            if names:
                yield from _wrapped(", ".join(names), width, f"    {label:<9}")
    yield from ("", "When it goes wrong")
    for failure in rung.failures:
        yield from _wrapped(failure.symptom, width, "  - ")
        yield from _wrapped(failure.cause, width, "    why   ")
        yield from _wrapped(failure.remedy, width, "    do    ")


def _wrapped(text: str, width: int, first: str) -> list[str]:
    """Text with a first prefix, and as much space before its other lines.

    Lines do not break beside the operators of a formula.
    """
    glued = re.sub(r" ([=−+≥≤<>]) ", "\u00a0\\1\u00a0", text)
    wrapped = textwrap.wrap(
        glued,
        width,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\u00a0", " ") for line in wrapped]
