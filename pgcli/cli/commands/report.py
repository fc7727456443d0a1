"""`pgcli report`."""

from pathlib import Path
from typing import Annotated

from pgcli.cli import options
from pgcli.cli.command import Command
from pgcli.cli.commands.compare import Threshold
from pgcli.cli.commands.plot import GroupBy, X, find_runs
from pgcli.cli.options import option
from pgcli.cli.terminal.console import Terminal, table
from pgcli.runs_dir import RUNS_DIR

EXAMPLES = """\
pgcli report NAME
pgcli report NAME OTHER -o comparison.html
pgcli report runs/* --group-by algo.name --threshold 475"""

NOTES = """\
One file without scripts, fonts or pictures from elsewhere: curves,
evaluation, diagnostics, configuration with origins, hardware and versions.
The newest .mp4, .webm or .gif in the directory of a run is embedded, or the
one that `pgcli video` wrote."""

Out = Annotated[Path, option("-o,--out FILE", "page to write")]


def report(
    terminal: Terminal,
    runs: options.Runs,
    out: Out = Path("report.html"),
    x: X = "steps",
    group_by: GroupBy = None,
    threshold: Threshold = None,
    runs_dir: options.RunsDir = RUNS_DIR,
) -> None:
    """Write a page about one run or several, to read or to send."""
    from pgcli.report import pictures
    from pgcli.report.html import page
    from pgcli.storage import curves

    curves.check_x(x)
    pictures.check_file(out, page.SUFFIXES)
    found = find_runs(terminal, runs, runs_dir)
    result = page.write(found, out, x=x, group_by=group_by, threshold=threshold)
    for video in result["videos"]:
        if not video["embedded"]:
            terminal.warn(f"{video['path']} is too large for the page and is left out")
    rows = [
        ("written", f"{out} ({result['bytes']:,} bytes)"),
        ("runs", ", ".join(result["runs"])),
        ("figures", str(result["figures"])),
        ("videos", ", ".join(v["path"] for v in result["videos"] if v["embedded"])),
    ]
    terminal.answer(table([row for row in rows if row[1]]), {"ok": True, **result})


COMMAND = Command(report, EXAMPLES, NOTES)
