"""`pgcli`: all commands, and the exit code of every failure."""

import functools
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from typer.main import get_command

from pgcli.cli import bash_completion
from pgcli.cli.command import Command, Group, add_command
from pgcli.cli.commands import (
    bench,
    compare,
    config,
    doctor,
    envs,
    evaluate,
    explain,
    export,
    init,
    ladder,
    plot,
    presets,
    report,
    reproduce,
    resume,
    runs,
    sweep,
    train,
    video,
)
from pgcli.cli.terminal.console import Terminal
from pgcli.cli.terminal.errors import from_typer, keep_trace, unexpected
from pgcli.errors import PgcliError

EXAMPLES = """\
pgcli train --algo ppo2
pgcli train -c configs/ppo2/CartPole-v1.yaml --seed 3 --set optimizer.lr=1e-3
pgcli eval runs/NAME --episodes 100"""

COMPLETE = "_PGCLI_COMPLETE"  # set by the shell, through Typer's script
COMPLETION_FLAGS = {"--install-completion", "--show-completion"}


COMMANDS: Mapping[str, Mapping[str, Command | Group]] = {
    "Run": {
        "train": train.COMMAND,
        "eval": evaluate.COMMAND,
        "resume": resume.COMMAND,
        "sweep": sweep.GROUP,
        "reproduce": reproduce.COMMAND,
        "ladder": ladder.COMMAND,
    },
    "Look": {
        "runs": runs.GROUP,
        "plot": plot.COMMAND,
        "compare": compare.COMMAND,
        "video": video.COMMAND,
        "report": report.COMMAND,
        "explain": explain.COMMAND,
    },
    "Set up": {
        "init": init.COMMAND,
        "config": config.GROUP,
        "envs": envs.GROUP,
        "presets": presets.GROUP,
        "bench": bench.COMMAND,
        "doctor": doctor.COMMAND,
        "export": export.COMMAND,
    },
}
"""Commands and groups of commands by purpose, in the order of the help."""


def build_app(completion: bool = False) -> typer.Typer:
    """The application; shell `completion` imports pydantic (0.1 s)."""
    help = "Train and evaluate policy-gradient agents in JAX."
    app = Group(help, EXAMPLES, {}).build(completion)
    app.info.context_settings = {"help_option_names": ["-h", "--help"]}
    for purpose, commands in COMMANDS.items():
        for name, each in commands.items():
            if isinstance(each, Command):
                add_command(app, name, each, purpose)
            else:
                app.add_typer(each.build(), name=name, rich_help_panel=purpose)
    return app


@functools.cache
def _command(completion: bool) -> Any:
    """The application as Typer runs it; several calls of `main` share one."""
    return get_command(build_app(completion))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    terminal = Terminal(sys.stdout, sys.stderr, os.environ)
    _presume_flags(terminal, words)
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    elif words == ["-V"]:
        words = ["--version"]
    try:
        completion = COMPLETE in os.environ or not COMPLETION_FLAGS.isdisjoint(words)
        command = _command(completion)
        if completion:
            bash_completion.install()
        # Typer returns the code of `Exit`, or None if the command succeeded
        code = command.main(
            words, prog_name="pgcli", standalone_mode=False, obj=terminal
        )
    except PgcliError as error:
        keep_trace(error, terminal)
        code = terminal.fail(error)
    except typer.TyperException as error:
        code = terminal.fail(from_typer(error))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        code = terminal.fail(unexpected(error, terminal))
    return terminal.close(int(code or 0))


def _presume_flags(terminal: Terminal, words: Sequence[str]) -> None:
    """Applies the global flags before parsing, so that usage errors respect them."""
    before = words[: words.index("--")] if "--" in words else words
    terminal.configure(
        quiet=False,
        verbose=False,
        no_color="--no-color" in before,
        json="--json" in before,
        debug="--debug" in before,
    )
