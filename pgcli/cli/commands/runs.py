"""`pgcli runs show`, `runs verify`, `runs rm`."""

from typing import Annotated, Any

from pgcli.cli import options
from pgcli.cli.command import Command, Group
from pgcli.cli.commands import runs_list
from pgcli.cli.options import option
from pgcli.cli.terminal.console import Terminal, table
from pgcli.cli.terminal.run_screen import run_screen
from pgcli.errors import CheckpointError, UsageError
from pgcli.runs_dir import RUNS_DIR

EXAMPLES = """\
pgcli runs list
pgcli runs show NAME
pgcli runs show NAME --config > my.yaml
pgcli runs verify NAME
pgcli runs rm NAME OTHER --yes"""

AllValues = Annotated[
    bool, option("--config", "show its configuration, with origins, instead")
]
Yes = Annotated[bool, option("--yes", "delete; without it, nothing is changed")]


def show(
    terminal: Terminal,
    run: options.Run,
    config: AllValues = False,
    runs_dir: options.RunsDir = RUNS_DIR,
) -> None:
    """Show one run: how far it is, its result, curve, members and problems."""
    from pgcli.config.dump import to_mapping, to_yaml
    from pgcli.report.overview import Overview
    from pgcli.storage.run_directory import RunDirectory

    found = Overview.of(RunDirectory.find(run, runs_dir))
    advice = list(found.advice())
    data = {
        "ok": True,
        "run": found.run.name,
        "path": str(found.run.path),
        "status": found.summary.status,
        "steps": found.summary.steps,
        "advice": advice,
        "config": to_mapping(found.config),
        "meta": found.meta,
        "result": found.result or None,
        "best": found.best and {"checkpoint": found.best[0], "score": found.best[1]},
    }
    if config:
        text = to_yaml(found.config, found.origins or None).rstrip("\n")
    else:
        text = "" if terminal.json else run_screen(terminal, found, advice)
    terminal.answer(text, data)


def verify(
    terminal: Terminal, run: options.Run, runs_dir: options.RunsDir = RUNS_DIR
) -> None:
    """Verify the size and SHA-256 of every file of every checkpoint."""
    from pgcli.storage import checkpoint
    from pgcli.storage.run_directory import RunDirectory

    # one row per checkpoint
    directory = RunDirectory.find(run, runs_dir)
    rows: list[dict[str, Any]] = []
    for path in checkpoint.committed(directory.checkpoints):
        try:
            checkpoint.load(path)
            rows.append({"checkpoint": str(path), "ok": True, "message": None})
        except CheckpointError as error:
            rows.append(
                {"checkpoint": str(path), "ok": False, "message": error.message}
            )

    # an error if any is damaged; with --json it carries all rows
    damaged = [row for row in rows if not row["ok"]]
    data = {"ok": not damaged, "run": directory.name, "checkpoints": rows}
    if not rows:
        raise CheckpointError("there is no checkpoint", where=str(directory.path))
    if damaged:
        raise CheckpointError(
            f"{len(damaged)} of {len(rows)} checkpoints are damaged: "
            f"{damaged[0]['message']}",
            where=damaged[0]["checkpoint"],
            help="`pgcli resume` falls back to the newest sound one",
            result=data,
        )
    text = "\n".join(f"ok  {row['checkpoint']}" for row in rows)
    terminal.answer(text, data)


def remove(
    terminal: Terminal,
    runs: options.Runs,
    yes: Yes = False,
    runs_dir: options.RunsDir = RUNS_DIR,
) -> None:
    """Delete runs with their checkpoints; a run that is being trained stays."""
    from pgcli.storage import files
    from pgcli.storage.run_directory import RunDirectory

    # all must exist before the first is deleted
    found = [RunDirectory.find(run, runs_dir) for run in runs]
    sizes = [
        sum(file.stat().st_size for file in run.path.rglob("*") if file.is_file())
        for run in found
    ]
    rows = [
        (str(run.path), f"{size / 2**20:,.1f} MiB")
        for run, size in zip(found, sizes, strict=True)
    ]
    paths = [str(run.path) for run in found]
    if not yes:
        raise UsageError(
            f"{len(found)} runs would be deleted: {', '.join(paths)}",
            help=f"--yes deletes them ({sum(sizes) / 2**20:,.1f} MiB)",
        )
    for run in found:
        with run.lock():
            files.remove_tree(run.path)
    terminal.answer(table(rows), {"ok": True, "deleted": paths, "bytes": sum(sizes)})


GROUP = Group(
    "List, show, verify and delete runs.",
    EXAMPLES,
    {
        "list": runs_list.COMMAND,
        "show": Command(show),
        "verify": Command(verify),
        "rm": Command(remove),
    },
)
