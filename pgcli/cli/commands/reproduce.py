"""`pgcli reproduce`."""

import contextlib
import tempfile
from pathlib import Path
from typing import Annotated

from pgcli.cli import options
from pgcli.cli.command import Command
from pgcli.cli.options import option
from pgcli.cli.terminal.console import Terminal, table
from pgcli.runs_dir import RUNS_DIR

EXAMPLES = """\
pgcli reproduce NAME
pgcli reproduce NAME --iterations 20
pgcli reproduce runs/NAME -o again"""

NOTES = """\
Exit code 9 if a row of metrics.jsonl or eval.jsonl, a checkpoint or the final
evaluation differs; the message names the first iteration that does."""

Iterations = Annotated[
    int | None,
    option(
        "--iterations N",
        "compare only the first N iterations",
        "all",
        parser=options.whole_number(1, 2**53),
    ),
]
Out = Annotated[
    Path | None, option("-o,--out DIR", "keep the second run in this directory", False)
]


def reproduce(
    terminal: Terminal,
    run: options.Run,
    iterations: Iterations = None,
    out: Out = None,
    env_modules: options.EnvModules = None,
    network_modules: options.NetworkModules = None,
    runs_dir: options.RunsDir = RUNS_DIR,
) -> None:
    """Train a run again from its configuration, and compare every row."""
    options.use_modules(env_modules, network_modules)
    from pgcli.storage.run_directory import RunDirectory

    directory = RunDirectory.find(run, runs_dir)
    if out is not None:
        RunDirectory.check_name(out, directory.name, "never", False)
    from pgcli.cli.terminal.live_view import reporting
    from pgcli.diagnose.reproduce import reproduce as run_again

    with contextlib.ExitStack() as stack:
        folder = out or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="pgcli-"))
        )
        reporter = stack.enter_context(reporting(terminal))
        data = run_again(directory, folder, iterations=iterations, reporter=reporter)
    metrics, evaluations = data["metrics.jsonl"], data["eval.jsonl"]
    checkpoints = data["checkpoints"]
    rows = [
        ("reproduced", f"{data['iterations']:,} iterations, byte for byte"),
        ("metrics", f"{metrics['equal']:,} of {metrics['rows']:,} rows equal"),
        ("evaluations", f"{evaluations['equal']} of {evaluations['rows']} rows equal"),
        ("checkpoints", f"{checkpoints['equal']} of {checkpoints['compared']} equal"),
    ]
    rows += [(key, f"{a} then, {b} now") for key, (a, b) in data["environment"].items()]
    terminal.answer(table(rows), data)


COMMAND = Command(reproduce, EXAMPLES, NOTES)
