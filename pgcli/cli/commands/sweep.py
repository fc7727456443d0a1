"""`pgcli sweep`: run, worker, status."""

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pgcli.cli import ladder_options, options
from pgcli.cli.command import Command, Group
from pgcli.cli.commands.plot import answer as answer_panels
from pgcli.cli.options import option
from pgcli.cli.terminal import sweep_text
from pgcli.cli.terminal.console import Terminal, table
from pgcli.cli.terminal.help import HelpGroup
from pgcli.errors import UsageError

if TYPE_CHECKING:
    from pgcli.sweep.directory import SweepDirectory
    from pgcli.sweep.launchers.base import Launch
    from pgcli.sweep.plan import Plan

EXAMPLES = """\
pgcli sweep configs/sweeps/ppo2_cartpole.yaml --dry-run
pgcli sweep my.yaml --workers 4
pgcli sweep my.yaml --launcher slurm --workers 16
pgcli sweep my.yaml --print | parallel
pgcli sweep status runs/sweeps/my"""

FRESH_SEEDS = "100:110"
TASKS = 8
"""Tasks of a Slurm job."""

File = Annotated[Path, typer.Argument(metavar="FILE", help="YAML file of the sweep")]
Sweep = Annotated[
    str, typer.Argument(metavar="SWEEP", help="directory, name or file of a sweep")
]
Out = Annotated[Path | None, option("-o,--out DIR", "directory", "runs/sweeps/FILE")]
Workers = Annotated[
    int | None,
    option(
        "--workers N",
        "worker processes",
        "one per core; one on an accelerator; 8 tasks of Slurm; room in Ray",
        parser=options.whole_number(1, 1024),
    ),
]
Storage = Annotated[
    str | None,
    option("--storage URL", "storage of Optuna, shared by workers", "SQLite in DIR"),
]
Launcher = Annotated[
    str,
    option(
        "--launcher local|slurm|ray",
        "processes on this machine, a Slurm array job, or tasks of a Ray cluster",
    ),
]
Cpus = Annotated[
    int | None,
    option(
        "--cpus-per-trial N",
        "cores of a worker of Ray",
        "1",
        parser=options.whole_number(1, 4096),
    ),
]
Gpus = Annotated[
    float | None,
    option("--gpus-per-trial X", "accelerators of a worker of Ray, or a fraction", "0"),
]
DryRun = Annotated[bool, option("--dry-run", "list the trials and stop")]
Print = Annotated[bool, option("--print", "print a shell line per trial, and stop")]
Parent = Annotated[
    int | None, typer.Option("--parent", hidden=True, help="process to follow")
]
Rebuild = Annotated[
    bool, option("--rebuild", "make the study again from the trials' records")
]
Train = Annotated[bool, option("--train", "train the best trial again, on fresh seeds")]
Seeds = Annotated[str | None, option("--seeds A:B", "seeds of --train", FRESH_SEEDS)]
Picture = Annotated[
    Path | None,
    option("-o,--out FILE", "picture to write: .svg or .png", "the terminal"),
]


def run(
    terminal: Terminal,
    file: File,
    out: Out = None,
    workers: Workers = None,
    launcher: Launcher = "local",
    cpus_per_trial: Cpus = None,
    gpus_per_trial: Gpus = None,
    storage: Storage = None,
    rebuild: Rebuild = False,
    dry_run: DryRun = False,
    print_: Print = False,
    env_modules: options.EnvModules = None,
    network_modules: options.NetworkModules = None,
) -> None:
    """Run the trials of a sweep, or those that are left: `pgcli sweep FILE` for short.

    Trials run in worker processes and are ranked by the interquartile mean of their
    seeds. The same command continues an interrupted sweep.
    """
    _check_launcher(launcher, cpus_per_trial, gpus_per_trial)
    options.use_modules(env_modules, network_modules)
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
    from pgcli.sweep import run as running

    modules = {
        "env_modules": list(env_modules or ()),
        "network_modules": list(network_modules or ()),
    }
    if (warning := directories.shared_file_warning(storage, where.path)) is not None:
        terminal.warn(warning)
    if launcher == "slurm":
        running.prepare(plan, where, storage, modules)
        data = running.submit(plan, where, tasks=workers or TASKS, rebuild=rebuild)
        terminal.answer(f"job {data['job']}", data)
        terminal.note(f"its trials: pgcli sweep status {where.path}")
        return
    launch: Launch
    if launcher == "ray":
        from pgcli.sweep.launchers import ray

        launch, room = ray.connect(cpus_per_trial or 1, gpus_per_trial or 0)
    else:
        from pgcli.sweep.launchers.local import LocalWorkers

        launch, room = LocalWorkers, default_workers(plan.first.accelerator)
    with contextlib.closing(sweep_text.Progress(terminal)) as progress:
        result = running.run(
            plan,
            where,
            launch=launch,
            workers=workers or room,
            storage=storage,
            rebuild=rebuild,
            modules=modules,
            report=progress,
        )
    terminal.answer(sweep_text.trials(result), result)
    if result["best"]:
        terminal.note(f"on fresh seeds: pgcli sweep best {where.path} --train")


def _check_launcher(name: str, cpus: int | None, gpus: float | None) -> None:
    """Checks the launcher and its options; raises `UsageError`."""
    if name not in ("local", "slurm", "ray"):
        raise UsageError(f"`--launcher {name}`: expected local, slurm or ray")
    if name != "ray" and (cpus is not None or gpus is not None):
        help = "on this machine, --workers divides the cores"
        if name == "slurm":
            help = "for Slurm, write `slurm: {cpus-per-task: 2}` into the file"
        raise UsageError(
            "`--cpus-per-trial` and `--gpus-per-trial` need `--launcher ray`", help=help
        )
    if gpus is not None and (gpus < 0 or (gpus > 1 and gpus % 1)):
        raise UsageError(
            f"`--gpus-per-trial {gpus:g}`: expected a whole number, or one below 1"
        )


def worker(terminal: Terminal, sweep: Sweep, parent: Parent = None) -> None:
    """Add a worker to a sweep that has been started."""
    where, plan = _started(sweep)
    from pgcli.sweep.run import storage_url
    from pgcli.sweep.worker import work

    count = work(where, plan, storage_url(where), terminal.note, parent)
    terminal.answer(f"{count} trials", {"ok": True, "trials": count})


def status(terminal: Terminal, sweep: Sweep) -> None:
    """Show the trials of a sweep, the best first."""
    _, _, result = _open(sweep)
    terminal.answer(sweep_text.trials(result), result)


def best(
    terminal: Terminal, sweep: Sweep, train: Train = False, seeds: Seeds = None
) -> None:
    """Show the best trial; with --train, how much of its lead was selection."""
    if seeds is not None and not train:
        raise UsageError("`--seeds` needs --train")
    fresh = ladder_options.seed_range(seeds or FRESH_SEEDS, "--seeds")
    where, plan, result = _open(sweep)
    from pgcli.sweep.results import best_of

    row = best_of(result)
    labels = where.read_record(row["trial"])["labels"]
    data = {"ok": True, "sweep": result["sweep"], **row}
    data["command"] = plan.command(row["trial"], labels, where.runs)
    if train:
        from pgcli.cli.terminal.live_view import reporting
        from pgcli.sweep import winner

        with reporting(terminal) as reporter:
            again = winner.train_again(where, plan, row, fresh, reporter)
        data |= {"fresh": winner.selection(result, again)}
    terminal.answer(sweep_text.best(data), data)


def plot(terminal: Terminal, sweep: Sweep, out: Picture = None) -> None:
    """Plot the scores over the trials and over the values."""
    from pgcli.report import pictures

    if out is not None:
        pictures.check_path(out)
    _, _, result = _open(sweep)
    from pgcli.sweep.pictures import panels

    answer_panels(terminal, panels(result), out)


def _started(sweep: str) -> "tuple[SweepDirectory, Plan]":
    """(directory, plan) of a sweep, after the import of its modules."""
    from pgcli.sweep.directory import find

    where = find(sweep)
    settings = where.read_settings()
    options.use_modules(settings.get("env_modules"), settings.get("network_modules"))
    return where, where.plan()


def _open(sweep: str) -> "tuple[SweepDirectory, Plan, dict[str, Any]]":
    """(directory, plan, results) of a sweep."""
    where, plan = _started(sweep)
    from pgcli.sweep.results import results
    from pgcli.sweep.run import storage_url
    from pgcli.sweep.study import Queue

    return where, plan, results(where, Queue(where, plan, storage_url(where)), plan)


def default_workers(accelerator: str) -> int:
    """Number of workers: one per core, or one that has the accelerator."""
    from pgcli.training.backend import plugins

    on_accelerator = accelerator != "cpu" and (
        plugins.installed("gpu") or plugins.installed("tpu")
    )
    return 1 if on_accelerator else len(os.sched_getaffinity(0))


def _print(terminal: Terminal, plan: "Plan", where: "SweepDirectory") -> None:
    if not plan.listed:
        raise UsageError(
            f"the sampler {plan.file.sampler} chooses trials by the results of others",
            help="--print needs `sampler: grid` or `sampler: random`",
        )
    if plan.num_trials is None:
        raise UsageError(
            "the sweep has no number of trials", help="add `trials: 50` to the file"
        )
    numbers = range(plan.num_trials)
    lines = [plan.command(n, plan.labels(n), where.runs) for n in numbers]
    terminal.answer("\n".join(lines), {"ok": True, "commands": lines})


def _dry_run(terminal: Terminal, plan: "Plan") -> None:
    from pgcli.sweep import space

    rows = [
        {"trial": n, "values": space.values(plan.file.space, plan.labels(n))}
        for n in range(plan.num_trials or 0 if plan.listed else 0)
    ]
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
    listed_rows = f"\n\n{sweep_text.values(rows)}" if rows else ""
    terminal.answer(table(text) + listed_rows, data)


class SweepGroup(HelpGroup):
    """A group in which a word that is no command is the file of `run`."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What follows the name of the group."""
        return ["FILE | COMMAND"]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts `run` before the words if they name a file and no command."""
        words = [word for word in args if not word.startswith("-")]
        if words and not set(words) & set(self.commands):
            first = Path(words[0])
            if words[0] != args[0] or first.suffix or first.exists():
                args = ["run", *args]
        return super().parse_args(ctx, args)


GROUP = Group(
    "Search over hyperparameters, with several seeds per trial.",
    EXAMPLES,
    {
        "run": Command(run, EXAMPLES),
        "worker": Command(worker),
        "status": Command(status),
        "best": Command(best),
        "plot": Command(plot),
    },
    cls=SweepGroup,
)
