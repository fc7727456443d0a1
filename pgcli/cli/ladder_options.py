"""Options of `pgcli ladder` and the parsing of their texts."""

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
        "--seeds", metavar="N|A:B", help="number of seeds, or seeds A to B - 1"
    ),
]
Algos = Annotated[
    str | None,
    typer.Option(
        "--algos",
        metavar="A,B,…",
        help="rungs to compare",
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
        help="also report the steps to this return",
        show_default="the environment's, if it has one",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="output directory",
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
        help="choose each rung's learning rate from these by area on --tune-seeds",
    ),
]
TuneSeeds = Annotated[
    str | None,
    typer.Option(
        "--tune-seeds",
        metavar="A:B",
        help="seeds for --tune",
        show_default=TUNE_SEEDS,
    ),
]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        metavar="N",
        help="number of runs at a time",
        parser=options.whole_number(1),
    ),
]
GradientVariance = Annotated[
    bool,
    typer.Option(
        "--gradient-variance",
        help="instead, measure the noise of the gradient for each weight on ∇log π, "
        "on the same episodes",
    ),
]
Episodes = Annotated[
    int | None,
    typer.Option(
        "--episodes",
        metavar="N",
        help="number of episodes for --gradient-variance",
        show_default=str(EPISODES),
        parser=options.whole_number(3),
    ),
]


def seed_range(text: str, flag: str) -> range:
    """The seeds given as `N` or `A:B`.

    Raises:
      UsageError: the text is neither, or gives no seed.
    """
    first, colon, end = text.partition(":")
    try:
        seeds = range(int(first), int(end)) if colon else range(int(first))
    except ValueError:
        seeds = range(0)
    if not seeds or seeds[0] < 0:
        raise UsageError(f"`{flag} {text}`: expected a number of seeds, or A:B")
    return seeds


def positive(text: str, flag: str) -> float:
    """The number in a text.

    Raises:
      UsageError: the text is not a finite number above 0.
    """
    value = options.real(text)
    if not isinstance(value, float) or not 0 < value < float("inf"):
        raise UsageError(f"`{flag}`: expected a number above 0, not `{text}`")
    return value


def rate(text: str, chosen: Sequence[str]) -> tuple[str, float]:
    """(rung, learning rate) of a text `ALGO=X`.

    Raises:
      UsageError: the text has another form, or the rung is not among `chosen`.
    """
    from pgcli.ladder.plan import algorithms

    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"`--lr {text}`: expected ALGO=X")
    [algo] = algorithms([name])
    if algo not in chosen:
        raise UsageError(f"`--lr {text}`: {algo} is not among the rungs")
    return algo, positive(value, f"--lr {name}")
