"""`pgcli sweep`: run, worker, status."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pgcli.cli import options
from pgcli.cli.command import Command, Group
from pgcli.cli.terminal.console import Terminal, table
from pgcli.cli.terminal.formatting import NOTHING, number
from pgcli.cli.terminal.help import HelpGroup
from pgcli.config.dump import flow
from pgcli.errors import UsageError

EXAMPLES = """\
pgcli sweep configs/sweeps/ppo2_cartpole.yaml --dry-run
pgcli sweep my.yaml --workers 4
pgcli sweep my.yaml --print | parallel
pgcli sweep status runs/sweeps/my"""

File = Annotated[Path, typer.Argument(metavar="FILE", help="YAML file of the sweep")]
Sweep = Annotated[
    str, typer.Argument(metavar="SWEEP", help="directory, name or file of a sweep")
]
Out = Annotated[
    Path | None, options.option("-o,--out DIR", "directory", "runs/sweeps/FILE")
]
Workers = Annotated[
    int | None,
    options.option(
        "--workers N",
        "worker processes",
        "one per core; one on an accelerator",
        parser=options.whole_number(1, 1024),
    ),
]
Storage = Annotated[
    str | None,
    options.option(
        "--storage URL", "storage of Optuna, shared by workers", "SQLite in DIR"
    ),
]
DryRun = Annotated[bool, options.option("--dry-run", "list the trials and stop")]
Print = Annotated[
    bool, options.option("--print", "print a shell line per trial, and stop")
]
Parent = Annotated[
    int | None, typer.Option("--parent", hidden=True, help="process to follow")
]

SHOWN = 20
"""Rows of the table of trials."""


def run(
    terminal: Terminal,
    file: File,
    out: Out = None,
    workers: Workers = None,
    storage: Storage = None,
    dry_run: DryRun = False,
    print_: Print = False,
    env_modules: options.EnvModules = None,
) -> None:
    """Run the trials of a sweep, or those that are left: `pgcli sweep FILE` for short.

    Trials run in worker processes and are ranked by the interquartile mean of their
    seeds. The same command continues an interrupted sweep.
    """
    options.use_modules(env_modules)
    from pgcli.sweep import directory as directories
    from pgcli.sweep import plan as plans

    plan = plans.load(file)
    where = directories.default(file)
    if out is not None:
        where = directories.SweepDirectory(out)
    if print_:
        _print(terminal, plan, where)
        return
    if dry_run:
        _dry_run(terminal, plan)
        return
    from pgcli.sweep.run import run as run_sweep

    progress = Progress(terminal, plan.num_trials)
    result = run_sweep(
        plan,
        where,
        workers=workers or default_workers(plan.first.accelerator),
        storage=storage,
        env_modules=list(env_modules or ()),
        report=progress,
    )
    terminal.answer(_table(result), result)
    if result["best"]:
        path = Path(result["path"]) / "runs" / result["best"]["run"]
        terminal.note(f"the best trial: pgcli eval {path}")


def worker(terminal: Terminal, sweep: Sweep, parent: Parent = None) -> None:
    """Add a worker to a sweep that has been started."""
    from pgcli.sweep.directory import find

    where = find(sweep)
    settings = where.read_settings()
    options.use_modules(settings.get("env_modules"))
    plan = where.plan()
    from pgcli.sweep.run import storage_url
    from pgcli.sweep.worker import work

    count = work(where, plan, storage_url(where, None), terminal.note, parent)
    terminal.answer(f"{count} trials", {"ok": True, "trials": count})


def status(terminal: Terminal, sweep: Sweep) -> None:
    """Show the trials of a sweep, the best first."""
    from pgcli.sweep.directory import find
    from pgcli.sweep.results import results
    from pgcli.sweep.run import storage_url
    from pgcli.sweep.study import Queue

    where = find(sweep)
    options.use_modules(where.read_settings().get("env_modules"))
    plan = where.plan()
    result = results(where, Queue(where, plan, storage_url(where, None)), plan)
    terminal.answer(_table(result), result)


def default_workers(accelerator: str) -> int:
    """Number of workers: one per core, or one that has the accelerator."""
    from pgcli.training.backend import layout, plugins

    on_accelerator = accelerator != "cpu" and (
        plugins.installed("gpu") or plugins.installed("tpu")
    )
    return 1 if on_accelerator else layout.cores()


def _print(terminal: Terminal, plan: Any, where: Any) -> None:
    if not plan.listed:
        raise UsageError(
            f"the sampler {plan.file.sampler} chooses trials by the results of others",
            help="--print needs `sampler: grid` or `sampler: random`",
        )
    numbers = range(_known(plan))
    lines = [plan.command(n, plan.labels(n), where.runs) for n in numbers]
    terminal.answer("\n".join(lines), {"ok": True, "commands": lines})


def _known(plan: Any) -> int:
    """Number of trials of a sweep whose budget is in trials."""
    if plan.num_trials is None:
        raise UsageError(
            "the sweep has no number of trials", help="add `trials: 50` to the file"
        )
    count: int = plan.num_trials
    return count


def _dry_run(terminal: Terminal, plan: Any) -> None:
    from pgcli.sweep import space

    listed = plan.listed and plan.num_trials is not None
    rows = []
    if listed:
        for n in range(plan.num_trials):
            labels = plan.labels(n)
            rows.append({"trial": n, "values": space.values(plan.file.space, labels)})
    data = {
        "ok": True,
        "dry_run": True,
        "sampler": plan.file.sampler,
        "pruner": plan.file.pruner,
        "num_trials": plan.num_trials,
        "hours": plan.file.hours,
        "seeds": plan.first.seeds,
        "steps": plan.first.steps,
        "trials": rows,
    }
    budget = f"{plan.num_trials} trials" if plan.num_trials else ""
    if plan.file.hours:
        budget += f"{', ' if budget else ''}at most {plan.file.hours:g} h"
    text = [
        ("sampler", plan.file.sampler),
        ("pruner", plan.file.pruner),
        ("budget", budget),
        ("each trial", f"{plan.first.seeds} seeds × {plan.first.steps:,} steps"),
        ("algorithm", plan.first.algo.name),
        ("environment", plan.first.env.id),
    ]
    keys = _keys(rows)
    lines = [[str(row["trial"]), *_cells(row, keys)] for row in rows]
    trials = "\n\n" + table(lines, ["TRIAL", *keys]) if rows else ""
    terminal.answer(table(text) + trials, data)


def _keys(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row["values"]))


def _cells(row: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    values = row["values"]
    return [_value(values[key]) if key in values else NOTHING for key in keys]


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else flow(value)


def _table(result: Mapping[str, Any]) -> str:
    """The best trials, then those without a score."""
    rows = sorted(
        (row for row in result["trials"] if row["state"] != "waiting"),
        key=lambda row: (row["score"] is None, -(row["score"] or 0), row["trial"]),
    )
    keys = _keys(rows)
    lines = [
        [
            str(row["trial"]),
            *_cells(row, keys),
            number(row["score"]),
            NOTHING
            if row["ci"] is None
            else "[{}, {}]".format(*map(number, row["ci"])),
            row["state"] + (f": {row['error']}" if row["error"] else ""),
        ]
        for row in rows[:SHOWN]
    ]
    text = table(lines, ["TRIAL", *keys, "RETURN, IQM", "95 %", "STATE"])
    if len(rows) > SHOWN:
        text += f"\n… and {len(rows) - SHOWN} more (--json has all)"
    shares = result["importance"].items()
    if shares:
        text += "\n\nimportance  " + ", ".join(f"{key} {x:.0%}" for key, x in shares)
    return text


class Progress:
    """One line on stderr for each change of the numbers of trials."""

    def __init__(self, terminal: Terminal, total: int | None) -> None:
        self._terminal, self._total = terminal, total
        self._last: Any = None

    def __call__(self, counts: Mapping[str, int], best: float | None) -> None:
        """Reports the numbers of trials by state."""
        if (counts, best) == self._last:
            return
        self._last = counts, best
        ended = counts["complete"] + counts["pruned"] + counts["fail"]
        of = "" if self._total is None else f"/{self._total}"
        parts = [f"[{ended}{of}]", f"{counts['running']} running"]
        parts += [
            f"{counts[key]} {word}" for key, word in _WORDS.items() if counts[key]
        ]
        parts += [] if best is None else [f"best {number(best)}"]
        self._terminal.note("  ".join(parts))


_WORDS = {"pruned": "pruned", "fail": "failed"}


class SweepGroup(HelpGroup):
    """A group in which a word that is no command is the file of `run`."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What follows the name of the group."""
        return ["FILE | COMMAND"]

    def resolve_command(
        self, ctx: Any, args: list[str]
    ) -> tuple[str | None, Any, list[str]]:
        """The command of `args`; `run` if they begin with a file."""
        if args[0] not in self.commands:
            args = ["run", *args]
        return super().resolve_command(ctx, args)


GROUP = Group(
    "Search over hyperparameters, with several seeds per trial.",
    EXAMPLES,
    {
        "run": Command(run, EXAMPLES),
        "worker": Command(worker),
        "status": Command(status),
    },
    cls=SweepGroup,
)
