"""Selection and order of the runs in a list, by what is recorded about them."""

from collections.abc import Iterable, Mapping, Sequence

from pgcli.config.algorithms import DEFAULT_ALGORITHM
from pgcli.config.fields import CAN_DERIVE, suggest
from pgcli.errors import UsageError
from pgcli.storage.run_list import RunSummary
from pgcli.suggest import did_you_mean

SORT_KEYS: Mapping[str, str] = {
    "age": "created",
    "name": "name",
    "algo": "algo",
    "env": "env",
    "seed": "seed",
    "status": "status",
    "steps": "steps",
    "return": "eval_return",
}
"""Names of `--sort` -> attributes of a summary; keys of the configuration also sort."""

SHOWN = ("algo.name", "env.id", "seed")
"""Keys that each line shows in any case."""


def matching(
    runs: Iterable[RunSummary],
    *,
    env: str | None = None,
    algo: str | None = None,
    status: str | None = None,
    where: Sequence[tuple[str, str]] = (),
) -> list[RunSummary]:
    """The runs that fulfil all conditions; a UsageError if no run has a key of `where`.

    `env` is a part of the id, in any case; `where` has (key, value) pairs.
    """
    runs = list(runs)
    for key, _ in where:
        _check_key(key, runs, "--where")
    return [
        run
        for run in runs
        if (env is None or env.lower() in (run.env or "").lower())
        and algo in (None, run.algo)
        and status in (None, run.status)
        and all(_equal(run.values.get(key), value) for key, value in where)
    ]


def ordered(runs: Sequence[RunSummary], key: str) -> list[RunSummary]:
    """The runs by a key, the smallest first; those without a value are last.

    The key is in `SORT_KEYS` or of the configuration, `-` in front reverses; a
    UsageError if no run has it.
    """
    name = key.removeprefix("-")
    if name not in SORT_KEYS:
        _check_key(name, runs, "--sort")

    def value(run: RunSummary) -> str | int | float | None:
        if name in SORT_KEYS:
            return getattr(run, SORT_KEYS[name])  # type: ignore[no-any-return]
        return run.values.get(name)

    known = [run for run in runs if value(run) is not None]
    # the youngest was created last
    reverse = (key != name) != (name == "age")
    known.sort(key=lambda run: _rank(value(run)), reverse=reverse)
    return [*known, *(run for run in runs if value(run) is None)]


def differing(runs: Sequence[RunSummary]) -> list[str]:
    """Keys of the configuration in which the runs differ.

    Those with most values are first. Those that follow from others, or that only say
    what is logged, are last.
    """
    values: dict[str, set[str]] = {}
    for run in runs:
        for key, text in run.values.items():
            values.setdefault(key, set()).add(text)
    keys = [key for key in values if len(values[key]) > 1 and key not in SHOWN]

    def order(key: str) -> tuple[bool, int]:
        return key in CAN_DERIVE or key.startswith("log."), -len(values[key])

    return sorted(keys, key=order)


def _check_key(key: str, runs: Sequence[RunSummary], flag: str) -> None:
    known = {name for run in runs for name in run.values}
    if runs and key not in known:
        help = suggest(key, DEFAULT_ALGORITHM.name)
        if flag == "--sort":
            help = did_you_mean(key, [*SORT_KEYS, *known], help)
        raise UsageError(f"`{flag} {key}`: no run has such a key", help=help)


def _equal(text: str | None, wanted: str) -> bool:
    """Whether a stored value is the one that a user wrote: 0.001 equals 1e-3."""
    if text is None:
        return False
    plain, other = (each.replace(" ", "").strip("\"'") for each in (text, wanted))
    return plain == other or (
        _rank(plain)[:2] == _rank(other)[:2] and _rank(plain)[0] == 0
    )


def _rank(value: str | int | float | None) -> tuple[int, float, str]:
    """A sort key: numbers by size, then texts."""
    try:
        return 0, float(str(value).replace("_", "")), ""
    except ValueError:
        return 1, 0.0, str(value)
