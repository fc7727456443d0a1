"""`pgcli runs list`."""

import dataclasses
import datetime
import json
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pgcli.cli import completers, options
from pgcli.cli.command import Command
from pgcli.cli.foreign import key_of
from pgcli.cli.options import option
from pgcli.cli.terminal.console import Terminal, table
from pgcli.config.fields import CAN_DERIVE, real_name
from pgcli.errors import UsageError
from pgcli.report.text import NOTHING, number, short
from pgcli.runs_dir import RUNS_DIR

if TYPE_CHECKING:
    from pgcli.storage.run_list import RunSummary

EXAMPLES = """\
pgcli runs list
pgcli runs list --sort return --env CartPole --status finished
pgcli runs list --where optimizer.lr=1e-3 --where seed=0 --json"""

NOTES = """\
Keys of the configuration in which the runs differ have a column each, as far as
the terminal is wide enough. --json has all of them."""

STATES = ("running", "finished", "stopped", "damaged")
MOST_KEYS = 6
"""Columns of differing keys in a file or a pipe."""

Env = Annotated[str | None, option("--env PART", "part of the id", False)]
Algo = Annotated[
    str | None,
    option(
        "--algo NAME",
        "algorithm or alias",
        False,
        autocompletion=completers.complete_algorithm,
    ),
]
Status = Annotated[
    str | None,
    option(
        "--status STATUS",
        ", ".join(STATES),
        False,
        autocompletion=completers.choices(*STATES),
    ),
]
Where = Annotated[
    list[str] | None,
    option(
        "--where KEY=VALUE",
        "value of a key of the configuration, repeatable",
        autocompletion=completers.complete_set,
    ),
]
Sort = Annotated[
    str,
    option(
        "--sort KEY",
        "age, name, algo, env, seed, status, steps, return, or a key of the "
        "configuration; -KEY reverses",
        autocompletion=completers.complete_key,
    ),
]


class Column(NamedTuple):
    """A column of the table."""

    header: str
    cells: Sequence[str]
    rank: int


def list_(
    terminal: Terminal,
    env: Env = None,
    algo: Algo = None,
    status: Status = None,
    where: Where = None,
    sort: Sort = "-age",
    runs_dir: options.RunsDir = RUNS_DIR,
) -> None:
    """List runs, with the keys in which they differ."""
    if status not in (None, *STATES):
        raise UsageError(f"`--status {status}`: expected {', '.join(STATES)}")
    conditions = [_condition(text) for text in where or ()]
    from pgcli.storage import run_filter
    from pgcli.storage.run_list import list_runs

    every = list_runs(runs_dir)
    runs = run_filter.matching(
        every, env=env, algo=algo and real_name(algo), status=status, where=conditions
    )
    runs = run_filter.ordered(runs, sort)
    keys = run_filter.differing(runs)
    if not runs:
        chosen = f" of {len(every)} fulfil the conditions" if every else ""
        terminal.note(f"no runs{chosen} in {runs_dir}")
    rows = [_row(run, keys) for run in runs]
    text = "" if terminal.json or not runs else _table(terminal, runs, keys)
    terminal.answer(text, {"ok": True, "differing": keys, "runs": rows})


def _condition(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(
            f"`--where {text}`: expected KEY=VALUE", help="--where optimizer.lr=1e-3"
        )
    return key_of(key.strip()) or key.strip(), value.strip()


def _row(run: "RunSummary", keys: Sequence[str]) -> dict[str, Any]:
    values = {key: _parsed(run.values[key]) for key in keys if key in run.values}
    shown = dataclasses.replace(run, values={})
    return dataclasses.asdict(shown) | {"values": values}


def _parsed(text: str) -> Any:
    """A value of config.yaml, whose numbers, words and lists are also JSON."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return text if isinstance(value, dict) else value


def _table(terminal: Terminal, runs: Sequence["RunSummary"], keys: list[str]) -> str:
    """The runs as a table that is as wide as the terminal at most."""
    now = datetime.datetime.now(datetime.UTC)
    columns = [
        Column("RUN", [run.name for run in runs], 0),
        Column("ALGO", [run.algo or NOTHING for run in runs], 6),
        Column("ENV", [run.env or NOTHING for run in runs], 5),
        Column("SEED", [str(run.seed) for run in runs], 4),
        *(
            Column(key, [run.values.get(key, NOTHING) for run in runs], 7 + i)
            for i, key in enumerate(keys)
        ),
        Column("STATUS", [run.status for run in runs], 2),
        Column("STEPS", [short(run.steps) for run in runs], 3),
        Column("AGE", [_age(run.created, now) for run in runs], 3),
        Column("RETURN", [number(run.eval_return) for run in runs], 1),
    ]
    # leave out what does not fit, and first what is the same in all runs
    count = len(columns)
    while _too_wide(terminal, columns):
        columns.remove(max(columns, key=_rank))
    if len(columns) < count:
        left = count - len(columns)
        terminal.note(f"{left} columns are left out: --json has all")
    rows = list(zip(*(column.cells for column in columns), strict=True))
    return table(rows, [column.header for column in columns])


def _rank(column: Column) -> tuple[bool, bool, int]:
    """Columns of a higher rank are left out first."""
    same = column.rank > 3 and len(set(column.cells)) == 1
    return column.header in CAN_DERIVE, same, column.rank


def _too_wide(terminal: Terminal, columns: Sequence[Column]) -> bool:
    if len(columns) == 1:
        return False
    if not terminal.formats:
        return sum(column.rank >= 7 for column in columns) > MOST_KEYS
    widths = [max(map(len, (c.header, *c.cells))) for c in columns]
    return sum(widths) + 2 * len(widths) - 2 > shutil.get_terminal_size().columns


def _age(created: str | None, now: datetime.datetime) -> str:
    """The time since a run was created, such as 45 s, 3 h or 12 d."""
    try:
        since = now - datetime.datetime.fromisoformat(created or "")
    except (ValueError, TypeError):
        return NOTHING
    seconds = max(0.0, since.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"


COMMAND = Command(list_, EXAMPLES, NOTES)
