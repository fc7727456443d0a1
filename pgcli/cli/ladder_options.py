"""Options of `pgcli ladder` and the parsing of their texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pgcli.cli import options
from pgcli.cli.options import option
from pgcli.config.bounds import MAX_EPISODES, MEMBERS, STEPS, WORKERS
from pgcli.errors import UsageError

TRAINED_STEPS = 20_000
EPISODES = 500
TUNE_SEEDS = "100:105"

Seeds = Annotated[str, option("--seeds N|A:B", "number of seeds, or seeds A to B - 1")]
Algos = Annotated[str | None, option("--algos A,B,…", "rungs to compare", "all")]
Steps = Annotated[
    int | None,
    option(
        "--steps N",
        "steps of each run; with --gradient-variance, before the second policy",
        f"the largest of the presets; {TRAINED_STEPS}",
        parser=options.whole_number(1, STEPS.value),
    ),
]
Threshold = Annotated[
    float | None,
    option(
        "--threshold X",
        "also report the steps to this return",
        "the environment's, if it has one",
    ),
]
Out = Annotated[Path | None, option("--out DIR", "output directory", "runs/ladder-ENV")]
Rates = Annotated[
    list[str] | None, option("--lr ALGO=X", "learning rate of a rung, repeatable")
]
Tune = Annotated[
    str | None,
    option(
        "--tune X,Y,…",
        "choose each rung's learning rate from these by area on --tune-seeds",
    ),
]
TuneSeeds = Annotated[
    str | None, option("--tune-seeds A:B", "seeds for --tune", TUNE_SEEDS)
]
Jobs = Annotated[
    int,
    option(
        "--jobs N",
        "number of runs at a time",
        parser=options.whole_number(1, WORKERS.value),
    ),
]
GradientVariance = Annotated[
    bool,
    option(
        "--gradient-variance",
        "instead, measure the noise of the gradient for each weight on ∇log π, "
        "on the same episodes",
    ),
]
Episodes = Annotated[
    int | None,
    option(
        "--episodes N",
        "number of episodes for --gradient-variance",
        str(EPISODES),
        parser=options.whole_number(3, MAX_EPISODES),
    ),
]


def seed_range(text: str, flag: str) -> range:
    """The seeds given as `N` or `A:B`; a UsageError if the text is neither."""
    first, colon, end = text.partition(":")
    try:
        seeds = range(int(first), int(end)) if colon else range(int(first))
    except ValueError:
        seeds = range(0)
    if not seeds or seeds.start < 0:
        raise UsageError(f"`{flag} {text}`: expected a number of seeds, or A:B")
    if seeds.stop - seeds.start > MEMBERS.value or seeds.stop > 2**32:
        raise UsageError(f"`{flag} {text}`: at most {MEMBERS} seeds below 2³²")
    return seeds


def positive(text: str, flag: str) -> float:
    """The finite number above 0 in a text; a UsageError if it is none."""
    value = options.real(text)
    if not isinstance(value, float) or not 0 < value < float("inf"):
        raise UsageError(f"`{flag}`: expected a number above 0, not `{text}`")
    return value


def rate(text: str, chosen: Sequence[str]) -> tuple[str, float]:
    """(rung, learning rate) of a text `ALGO=X`; a UsageError for other texts."""
    from pgcli.ladder.plan import algorithms

    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"`--lr {text}`: expected ALGO=X")
    [algo] = algorithms([name])
    if algo not in chosen:
        raise UsageError(f"`--lr {text}`: {algo} is not among the rungs")
    return algo, positive(value, f"--lr {name}")
