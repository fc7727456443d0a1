"""Conversion of other exceptions to `PgcliError`, and logs of tracebacks."""

import os
import tempfile
import traceback
from pathlib import Path
from typing import Any

import typer

from pgcli import versions
from pgcli.cli.foreign import having, key_of
from pgcli.cli.terminal.console import Terminal
from pgcli.errors import PgcliError, UsageError
from pgcli.runs_dir import RUNS_DIR
from pgcli.suggest import similar


class UnexpectedError(PgcliError):
    """An exception that is a bug in pgcli."""


def from_typer(error: typer.TyperException) -> UsageError:
    """A usage error of Typer as ours, with message, place and remedy."""
    context: Any = getattr(error, "ctx", None)
    where = context.command_path if context else None
    param: Any = getattr(error, "param", None)
    option = getattr(error, "option_name", None)
    help = f"see `{where or 'pgcli'} --help`"

    # an unknown option, an option without its value or with one too many
    if hasattr(error, "possibilities"):
        near = similar(str(option), error.possibilities or (), cutoff=0.75)
        message = f"unknown option `{option}`"
        help = f"did you mean `{near[0]}`?" if near else _owners(option, context, help)
    elif option is not None:
        message = f"option `{option}` needs a value"
        params = getattr(context and context.command, "params", ())
        for each in (each for each in params if option in each.opts):
            help = f"{option} {each.metavar}: {each.help}"
        if versions.TYPER_NO_VALUE in error.message:
            message = f"option `{option}` takes no value"

    # a missing or wrong argument
    elif param is not None and not error.message:
        message = f"{param.display_name_raw} is missing"
        if "RUN" in message:
            help = newest_run(context.params.get("runs_dir") or RUNS_DIR)
    elif param is not None:
        name = max(param.opts, key=len) if param.opts else param.display_name_raw
        message = f"`{name}`: {error.message.rstrip('.')}"

    # anything else
    elif versions.TYPER_EXTRA_ARGUMENT in error.message:
        message = (
            f"unexpected argument `{error.message.rpartition('(')[2].rstrip(')')}`"
        )
    else:
        text = error.format_message().rstrip(".")
        message = text[:1].lower() + text[1:]
    return UsageError(message, where=where, help=help)


def _owners(option: str | None, context: Any, otherwise: str) -> str:
    """The commands that have an unknown option, or the key that it sets."""
    if key := key_of(str(option).removeprefix("--")):
        return f"a new run sets it: `pgcli train --set {key}=…`"
    root = context.find_root()
    owners = dict(having(str(option), root.command.commands, root))
    named = " and ".join(f"`{name}`" for name in owners)
    return f"it is an option of {named}" if owners else otherwise


def newest_run(runs_dir: Path) -> str:
    """The remedy for a missing run: the newest one."""
    from pgcli.storage.run_directory import names

    if not (known := names(runs_dir)):
        return "there is no run yet: `pgcli train` makes one"
    newest = max(known, key=lambda name: (runs_dir / name).stat().st_mtime)
    return f"the newest is {newest}; `pgcli runs list` shows all"


def unexpected(error: BaseException, terminal: Terminal) -> UnexpectedError:
    """An error for a bug; its remedy names the log that contains the traceback."""
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
    """Writes the traceback of user or library code to a log, and adds its path."""
    if error.trace is None:
        return
    if terminal.debug:
        terminal.say(error.trace.rstrip())
    log = _write_log(error.trace, terminal.run_path)
    if log is not None:
        pointer = f"the traceback is in {log}"
        error.help = f"{error.help}; {pointer}" if error.help else pointer


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
