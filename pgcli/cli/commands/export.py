"""`pgcli export`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pgcli.cli import completers, options
from pgcli.cli.command import Command
from pgcli.cli.commands.evaluate import Best
from pgcli.cli.options import option
from pgcli.cli.terminal.console import Terminal, table
from pgcli.errors import UsageError
from pgcli.extras import pip_install
from pgcli.runs_dir import RUNS_DIR

EXAMPLES = """\
pgcli export runs/NAME --format onnx
pgcli export NAME --best --format stablehlo -o policy.stablehlo
pgcli export --list"""

NOTES = """\
The file has the normaliser and the post-processing of actions in it, takes any
batch size, and returns the most probable actions. It is compared with the
policy on 1,000 observations before it gets its name."""

Target = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN|CHECKPOINT",
        help="name or path of a run, or path of a checkpoint",
        show_default=False,
        autocompletion=completers.complete_run,
    ),
]
Kind = Annotated[
    str | None,
    option(
        "--format FORMAT",
        "stablehlo, onnx, safetensors or orbax",
        False,
        autocompletion=completers.choices("stablehlo", "onnx", "safetensors", "orbax"),
    ),
]
Out = Annotated[Path | None, option("-o,--out PATH", "path of the file", "RUN.FORMAT")]
Listed = Annotated[bool, option("--list", "list the formats and what they need")]
Overwrite = Annotated[bool, option("--overwrite", "replace what is at the path")]


def export(
    terminal: Terminal,
    target: Target = None,
    format: Kind = None,
    out: Out = None,
    best: Best = False,
    member: options.Member = None,
    overwrite: Overwrite = False,
    listed: Listed = False,
    network_modules: options.NetworkModules = None,
    runs_dir: options.RunsDir = RUNS_DIR,
) -> None:
    """Write the policy of a run as a file that runs without pgcli."""
    from pgcli.export import export as exports

    if listed:
        _list(terminal, exports.FORMATS)
        return
    if target is None or format is None:
        raise UsageError(
            "expected a run and `--format`", help="`pgcli export --list` shows formats"
        )
    options.use_modules(None, network_modules)
    result = exports.export(
        target,
        format=format,
        out=out,
        best=best,
        member=member,
        overwrite=overwrite,
        runs_dir=runs_dir,
    )
    inputs = ", ".join(
        f"{name} {one['dtype']}[{', '.join(map(str, one['shape']))}]"
        for name, one in result["inputs"].items()
    )
    rows = [
        ("written", f"{result['path']} ({result['bytes']:,} bytes)"),
        ("from", f"{result['checkpoint']} (iteration {result['iteration']})"),
        ("inputs", inputs),
        ("outputs", ", ".join(result["outputs"])),
        (
            "compared",
            f"{result['observations_compared']:,} observations, largest difference "
            f"{result['largest_difference']:.2g}",
        ),
    ]
    terminal.answer(table(rows), {"ok": True, **result})


def _list(terminal: Terminal, formats: Any) -> None:
    rows = [
        (name, one.purpose + ("" if one.installed else f"; {pip_install(one.extra)}"))
        for name, one in formats.items()
    ]
    answer = [
        {"name": name, "purpose": one.purpose, "installed": one.installed}
        for name, one in formats.items()
    ]
    terminal.answer(table(rows), {"ok": True, "formats": answer})


COMMAND = Command(export, EXAMPLES, NOTES)
