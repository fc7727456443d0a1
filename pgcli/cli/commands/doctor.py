"""`pgcli doctor`."""

from collections.abc import Iterator, Mapping
from typing import Any

from pgcli.cli import options
from pgcli.cli.command import Command
from pgcli.cli.terminal.console import Terminal, table
from pgcli.errors import AcceleratorError
from pgcli.extras import pip_install
from pgcli.runs_dir import RUNS_DIR

EXAMPLES = """\
pgcli doctor
pgcli doctor --json"""


def doctor(terminal: Terminal, runs_dir: options.RunsDir = RUNS_DIR) -> None:
    """Show devices, versions, extras and cache, and any problems."""
    from pgcli.diagnose.doctor import examine

    report = examine(runs_dir)
    if not report["ok"]:
        if not terminal.json:
            terminal.say(_text(report))
        raise AcceleratorError(report["warnings"][0], result=report)
    terminal.answer(_text(report), report)
    for warning in report["warnings"]:
        terminal.warn(warning)


def _text(report: Mapping[str, Any]) -> str:
    return table(list(_rows(report)))


def _rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    devices = [
        f"{device['platform']} ×{device['count']} ({device['kind']})"
        for device in report["devices"]
    ]
    yield "devices", ", ".join(devices) or "none"
    yield "cores", str(report["cores"])
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
