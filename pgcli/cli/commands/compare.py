"""`pgcli compare`."""

from pathlib import Path
from typing import Annotated

from pgcli.cli import options
from pgcli.cli.command import Command
from pgcli.cli.commands.plot import GroupBy, find_runs
from pgcli.cli.options import option
from pgcli.cli.terminal.console import Terminal, table
from pgcli.report.text import comparison_rows
from pgcli.runs_dir import RUNS_DIR

EXAMPLES = """\
pgcli compare ppo2-run a2c-run
pgcli compare runs/* --group-by optimizer.lr --threshold 475
pgcli compare runs/* --group-by algo.name -o comparison.svg --csv table.csv"""

NOTES = """\
The score of a run or member is the mean return of its final evaluation. Groups
are compared with the first one. Intervals: 95 %, from resampling runs."""

Threshold = Annotated[
    float | None,
    option("--threshold X", "report the first evaluation that reaches this return"),
]
Out = Annotated[
    Path | None,
    option("-o,--out FILE", "curves and performance profile: .svg or .png", False),
]
Csv = Annotated[Path | None, option("--csv FILE", "write the table as CSV", False)]


def compare(
    terminal: Terminal,
    runs: options.Runs,
    group_by: GroupBy = None,
    threshold: Threshold = None,
    out: Out = None,
    csv: Csv = None,
    runs_dir: options.RunsDir = RUNS_DIR,
) -> None:
    """Compare groups of runs by their final evaluations, with intervals."""
    from pgcli.report import compare as comparison
    from pgcli.report import pictures

    if out is not None:
        pictures.check_path(out)
    found = find_runs(terminal, runs, runs_dir)
    result = comparison.compare(found, group_by=group_by, threshold=threshold)
    if out is not None:
        pictures.write(comparison.pictures(found, result, group_by), out)
    if csv is not None:
        options.write(csv, comparison.to_csv(result), overwrite=True)
    if result["not_evaluated"]:
        terminal.warn(f"{result['not_evaluated']} runs have not been evaluated yet")
    head, *rows = comparison_rows(result)
    text = table(rows, [name.upper() for name in head])
    terminal.answer(text, {"ok": True, **result})


COMMAND = Command(compare, EXAMPLES, NOTES)
