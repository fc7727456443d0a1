"""`pgcli plot`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pgcli.cli import completers, options
from pgcli.cli.command import Command
from pgcli.cli.options import option
from pgcli.cli.terminal.chart import draw
from pgcli.cli.terminal.console import Terminal
from pgcli.runs_dir import RUNS_DIR

if TYPE_CHECKING:
    from pgcli.charts.base import Panel
    from pgcli.storage.run_directory import RunDirectory

EXAMPLES = """\
pgcli plot NAME
pgcli plot NAME OTHER -o curves.svg
pgcli plot runs/* --group-by algo.name --y eval.return_mean -o curves.png"""

NOTES = """\
Members of a group are one curve: interquartile mean and 95 % bootstrap interval
at each point. Without --group-by, the seeds of a run are a group. Evaluations
of a single run have the interval over their episodes. PNG needs the extra
`plot`."""

Out = Annotated[
    Path | None,
    option("-o,--out FILE", "picture to write: .svg or .png", "the terminal"),
]
X = Annotated[
    str,
    option(
        "--x AXIS",
        "steps, seconds, episodes or iteration",
        autocompletion=completers.choices("steps", "seconds", "episodes", "iteration"),
    ),
]
Y = Annotated[
    list[str] | None,
    option(
        "--y KEY",
        "key of metrics.jsonl, or eval.KEY of eval.jsonl; repeatable, a panel each",
        "return_mean, eval.return_mean",
    ),
]
GroupBy = Annotated[
    str | None,
    option(
        "--group-by KEY",
        "key of the configuration whose values are compared",
        False,
        autocompletion=completers.complete_key,
    ),
]
InTerminal = Annotated[
    bool, option("--terminal", "draw in the terminal as well as to the file")
]


def find_runs(
    terminal: Terminal, runs: Sequence[str], runs_dir: Path
) -> list["RunDirectory"]:
    """The runs of a command line; other files that `runs/*` names are left out.

    Raises a UsageError if a run does not exist, or none is a run.
    """
    from pgcli.storage.run_directory import RunDirectory

    def is_other(run: str) -> bool:
        path = Path(run)
        return "/" in run and path.exists() and not (path / "meta.json").exists()

    others = [run for run in runs if is_other(run)]
    if others and len(others) < len(runs):
        terminal.note(f"left out, since it is no run: {', '.join(others)}")
        runs = [run for run in runs if run not in others]
    return [RunDirectory.find(run, runs_dir) for run in runs]


def plot(
    terminal: Terminal,
    runs: options.Runs,
    out: Out = None,
    x: X = "steps",
    y: Y = None,
    group_by: GroupBy = None,
    in_terminal: InTerminal = False,
    runs_dir: options.RunsDir = RUNS_DIR,
) -> None:
    """Plot learning curves of runs, in the terminal or as a picture."""
    from pgcli.report import pictures
    from pgcli.storage import curves

    curves.check_x(x)
    if out is not None:
        pictures.check_path(out)
    drawn = curves.panels(
        find_runs(terminal, runs, runs_dir),
        x=x,
        keys=y or curves.DEFAULT_KEYS,
        group_by=group_by,
    )
    answer(terminal, drawn, out, in_terminal, {"x": x})


def answer(
    terminal: Terminal,
    drawn: "Sequence[Panel]",
    out: Path | None,
    in_terminal: bool = False,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Answers with panels: in the terminal unless they are written to `out`."""
    from pgcli.report import pictures

    if out is not None:
        pictures.write(drawn, out)
    text = []
    if out is None or in_terminal:
        text += draw(terminal, drawn, color=terminal.formats)
    if out is not None:
        text.append(f"written  {out}")
    data = {
        "ok": True,
        "file": None if out is None else str(out),
        **(more or {}),
        "panels": [
            {
                "key": panel.title,
                "curves": [
                    {
                        name: value if isinstance(value, str) else value.tolist()
                        for name, value in curve._asdict().items()
                        if value is not None
                    }
                    for curve in panel.curves
                ],
            }
            for panel in drawn
        ],
    }
    terminal.answer("\n".join(text), data)


COMMAND = Command(plot, EXAMPLES, NOTES)
