"""`pgcli doctor`."""

import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pgcli.cli import options
from pgcli.cli.command import Command
from pgcli.cli.options import option
from pgcli.cli.terminal.console import Terminal, table
from pgcli.errors import AcceleratorError
from pgcli.extras import pip_install
from pgcli.runs_dir import RUNS_DIR

EXAMPLES = """\
pgcli doctor
pgcli doctor --markdown
pgcli doctor --json"""

Markdown = Annotated[bool, option("--markdown", "a block to paste into a bug report")]


def doctor(
    terminal: Terminal, markdown: Markdown = False, runs_dir: options.RunsDir = RUNS_DIR
) -> None:
    """Show devices, versions, extras and cache, and any problems."""
    from pgcli.diagnose.doctor import examine

    report = examine(runs_dir)
    if markdown and not terminal.json:
        terminal.answer(_markdown(report), report)
    if not report["ok"]:
        if not terminal.json and not markdown:
            terminal.say(_text(report))
        raise AcceleratorError(report["warnings"][0], result=report)
    if markdown and not terminal.json:
        return
    terminal.answer(_text(report), report)
    for warning in report["warnings"]:
        terminal.warn(warning)


def _markdown(report: Mapping[str, Any]) -> str:
    """The report with its warnings as a block of code, without the user's name."""
    rows = [row for row in _rows(report) if row[0]]
    rows += [("warning", text) for text in report["warnings"]]
    home = os.path.expanduser("~/")
    return f"```text\n{table(rows).replace(home, '~/')}\n```"


def _text(report: Mapping[str, Any]) -> str:
    return table(list(_rows(report)))


def _rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    from pgcli.training import machine

    devices = [
        f"{device['platform']} ×{device['count']} ({device['kind']})"
        for device in report["devices"]
    ]
    yield "devices", ", ".join(devices) or "none"
    yield from machine.facts(report["machine"])
    yield "versions", ", ".join(f"{k} {v}" for k, v in report["versions"].items())
    complete = [name for name, missing in report["extras"].items() if not missing]
    yield "extras", ", ".join(complete) or "none"
    for name, missing in report["extras"].items():
        if missing:
            yield "", f"without {name}: {pip_install(name)}"
    cache = report["cache"]
    if cache is None:
        yield "cache", "off"
    else:
        size = cache["bytes"] / 2**20
        yield "cache", f"{cache['path']}: {cache['programs']} programs, {size:.0f} MiB"
    writable = "" if report["runs"]["writable"] else ", not writable"
    yield "runs", report["runs"]["path"] + writable
    for name, value in report["environment"].items():
        yield name, value or "(empty)"


COMMAND = Command(doctor, EXAMPLES)
