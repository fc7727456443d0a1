"""Options of `pgcli ladder`, and what their texts mean."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from pgcli.cli import options
from pgcli.errors import UsageError

TRAINED_STEPS = 20_000
EPISODES = 500
TUNE_SEEDS = "100:105"

Seeds = Annotated[
    str,
    typer.Option(
        "--seeds", metavar="N|A:B", help="how many seeds, or from A up to before B"
    ),
]
Algos = Annotated[
    str | None,
    typer.Option(
        "--algos",
        metavar="A,B,…",
        help="which rungs",
        show_default="all",
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        "--steps",
        metavar="N",
        help="steps of each run; with --gradient-variance, before the second policy",
        show_default=f"the largest of the presets; {TRAINED_STEPS}",
        parser=options.whole_number(1),
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        metavar="X",
        help="count the steps to this return",
        show_default="the environment's, if it has one",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="where everything goes",
        show_default="runs/ladder-ENV",
    ),
]
Rates = Annotated[
    list[str] | None,
    typer.Option("--lr", metavar="ALGO=X", help="learning rate of a rung, repeatable"),
]
Tune = Annotated[
    str | None,
    typer.Option(
        "--tune",
        metavar="X,Y,…",
        help="choose each rung's learning rate from these, by area on --tune-seeds",
    ),
]
TuneSeeds = Annotated[
    str | None,
    typer.Option(
        "--tune-seeds",
        metavar="A:B",
        help="seeds that choose, of --tune",
        show_default=TUNE_SEEDS,
    ),
]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        metavar="N",
        help="runs at once",
        parser=options.whole_number(1),
    ),
]
GradientVariance = Annotated[
    bool,
    typer.Option(
        "--gradient-variance",
        help="instead: how noisy the gradient is under each weight on ∇log π, on "
        "the same episodes",
    ),
]
Episodes = Annotated[
    int | None,
    typer.Option(
        "--episodes",
        metavar="N",
        help="of --gradient-variance",
        show_default=str(EPISODES),
        parser=options.whole_number(3),
    ),
]


def seed_range(text: str, flag: str) -> range:
    """The seeds that `N` or `A:B` means.

    Raises:
      UsageError: it means none.
    """
    first, colon, end = text.partition(":")
    try:
        found = range(int(first), int(end)) if colon else range(int(first))
    except ValueError:
        found = range(0)
    if not found or found[0] < 0:
        raise UsageError(f"`{flag} {text}`: expected a number of seeds, or A:B")
    return found


def positive(text: str, flag: str) -> float:
    """The number above 0 that a text spells.

    Raises:
      UsageError: it spells none.
    """
    value = options.real(text)
    if not isinstance(value, float) or not 0 < value < float("inf"):
        raise UsageError(f"`{flag}`: expected a number above 0, not `{text}`")
    return value


def rate(text: str, chosen: Sequence[str]) -> tuple[str, float]:
    """(rung, learning rate) that `ALGO=X` means.

    Raises:
      UsageError: it does not, or that rung is not trained.
    """
    from pgcli.ladder.plan import algorithms

    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"`--lr {text}`: expected ALGO=X")
    [algo] = algorithms([name])
    if algo not in chosen:
        raise UsageError(f"`--lr {text}`: {algo} is not among the rungs")
    return algo, positive(value, f"--lr {name}")
