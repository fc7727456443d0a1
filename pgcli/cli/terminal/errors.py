"""Failures that are not `PgcliError` yet, and tracebacks: where they can be read."""

import os
import tempfile
import traceback
from pathlib import Path
from typing import Any

import typer

from pgcli import versions
from pgcli.cli.terminal.console import Terminal
from pgcli.errors import PgcliError, UsageError


class UnexpectedError(PgcliError):
    """A failure that nobody foresaw: a bug."""


def from_typer(error: typer.TyperException) -> UsageError:
    """A usage error found by Typer, in our words."""
    context: Any = getattr(error, "ctx", None)
    where = context.command_path if context else None
    param: Any = getattr(error, "param", None)
    option = getattr(error, "option_name", None)
    help = f"see `{where or 'pgcli'} --help`"
    if hasattr(error, "possibilities"):
        near = list(error.possibilities or ())  # the nearest first
        message = f"unknown option `{option}`"
        help = f"did you mean `{near[0]}`?" if near else help
    elif option is not None:
        message = f"option `{option}` needs a value"
        if versions.TYPER_NO_VALUE in error.message:
            message = f"option `{option}` takes no value"
    elif param is not None and not error.message:
        message = f"{param.display_name_raw} is missing"
    elif param is not None:
        name = max(param.opts, key=len) if param.opts else param.display_name_raw
        message = f"`{name}`: {error.message.rstrip('.')}"
    elif versions.TYPER_EXTRA_ARGUMENT in error.message:
        message = (
            f"unexpected argument `{error.message.rpartition('(')[2].rstrip(')')}`"
        )
    else:
        text = error.format_message().rstrip(".")
        message = text[:1].lower() + text[1:]
    return UsageError(message, where=where, help=help)


def unexpected(error: Exception, terminal: Terminal) -> UnexpectedError:
    """A bug, as two lines and the path of the log that holds its traceback."""
    trace = "".join(traceback.format_exception(error))
    if terminal.debug:
        terminal.say(trace.rstrip())
    log = _write_log(trace, terminal.run_path)
    first = str(error).strip().splitlines()[:1]
    summary = f"{type(error).__name__}: {first[0]}" if first else type(error).__name__
    return UnexpectedError(
        f"unexpected failure: {summary}",
        help=f"this is a bug in pgcli; the traceback is in {log}"
        if log
        else "this is a bug in pgcli; --debug shows the traceback",
    )


def keep_trace(error: PgcliError, terminal: Terminal) -> None:
    """Puts the traceback of foreign code where it can be read, and says where."""
    if error.trace is None:
        return
    if terminal.debug:
        terminal.say(error.trace.rstrip())
    log = _write_log(error.trace, terminal.run_path)
    if log is not None:
        told = f"the traceback is in {log}"
        error.help = f"{error.help}; {told}" if error.help else told


def _write_log(trace: str, run_path: Path | None) -> Path | None:
    if run_path is not None:
        try:
            with (run_path / "log.txt").open("a", encoding="utf-8") as log:
                log.write(trace)
            return run_path / "log.txt"
        except OSError:
            pass
    try:
        descriptor, name = tempfile.mkstemp(prefix="pgcli-", suffix=".log", text=True)
        with os.fdopen(descriptor, "w", encoding="utf-8") as log:
            log.write(trace)
        return Path(name)
    except OSError:
        return None
