"""`pgcli`: all commands, and the exit code of every failure."""

import os
import sys
from collections.abc import Callable, Sequence

import typer
from typer.main import get_command

from pgcli.cli.commands import (
    bench,
    config,
    doctor,
    envs,
    evaluate,
    explain,
    ladder,
    resume,
    runs,
    train,
)
from pgcli.cli.options import add_command, missing_command, with_global_flags
from pgcli.cli.terminal.console import Terminal
from pgcli.cli.terminal.errors import from_typer, keep_trace, unexpected
from pgcli.cli.terminal.help import HelpGroup
from pgcli.errors import PgcliError

EXAMPLES = """\
pgcli train --algo ppo2
pgcli train -c configs/ppo2/CartPole-v1.yaml --seed 3 --set optimizer.lr=1e-3
pgcli eval runs/NAME --episodes 100"""

COMPLETE = "_PGCLI_COMPLETE"  # set by the shell, through Typer's script
COMPLETION_FLAGS = {"--install-completion", "--show-completion"}


def _group(
    help: str,
    examples: str = "",
    completion: bool = False,
    cls: type[HelpGroup] = HelpGroup,
    alone: Callable[..., None] = missing_command,
) -> typer.Typer:
    """A group of commands; `alone` runs if no command is named."""
    group = typer.Typer(
        cls=cls,
        add_completion=completion,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    group.callback(invoke_without_command=True, help=help, epilog=examples)(
        with_global_flags(alone)
    )
    return group


def build_app(completion: bool = False) -> typer.Typer:
    """The application with all commands, by purpose.

    Args:
      completion: whether to add shell completion, which imports pydantic (0.1 s).
    """
    help = "Train and evaluate policy-gradient agents in JAX."
    app = _group(help, EXAMPLES, completion)
    app.info.context_settings = {"help_option_names": ["-h", "--help"]}

    # Run
    add_command(
        app,
        "train",
        train.train,
        purpose="Run",
        examples=train.EXAMPLES,
        notes=train.NOTES,
    )
    add_command(
        app, "eval", evaluate.evaluate, purpose="Run", examples=evaluate.EXAMPLES
    )
    add_command(app, "resume", resume.resume, purpose="Run", examples=resume.EXAMPLES)
    add_command(
        app,
        "ladder",
        ladder.ladder,
        purpose="Run",
        examples=ladder.EXAMPLES,
        notes=ladder.NOTES,
    )

    # Look
    group = _group("List, show and verify runs.", runs.EXAMPLES)
    for name, function in runs.COMMANDS.items():
        add_command(group, name, function)
    app.add_typer(group, name="runs", rich_help_panel="Look")
    add_command(
        app,
        "explain",
        explain.explain,
        purpose="Look",
        examples=explain.EXAMPLES,
        notes=explain.NOTES,
    )

    # Set up
    group = _group("Show, check and explain configurations.", config.EXAMPLES)
    for name, function in config.COMMANDS.items():
        add_command(group, name, function)
    app.add_typer(group, name="config", rich_help_panel="Set up")
    group = _group(
        "List environments, or check one.",
        envs.EXAMPLES,
        cls=envs.EnvsGroup,
        alone=envs.list_everything,
    )
    add_command(group, "list", envs.list_some, examples=envs.LIST_EXAMPLES)
    add_command(
        group,
        "check",
        envs.check,
        examples=envs.CHECK_EXAMPLES,
        notes=envs.CHECK_NOTES,
    )
    app.add_typer(group, name="envs", rich_help_panel="Set up")
    add_command(app, "bench", bench.bench, purpose="Set up", examples=bench.EXAMPLES)
    add_command(
        app, "doctor", doctor.doctor, purpose="Set up", examples=doctor.EXAMPLES
    )
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    terminal = Terminal(sys.stdout, sys.stderr, os.environ)
    _presume_flags(terminal, words)
    try:
        completion = COMPLETE in os.environ or not COMPLETION_FLAGS.isdisjoint(words)
        command = get_command(build_app(completion))
        # Typer returns the code of `Exit`, or None if the command succeeded
        code = command.main(
            words, prog_name="pgcli", standalone_mode=False, obj=terminal
        )
    except PgcliError as error:
        keep_trace(error, terminal)
        code = terminal.fail(error)
    except typer.TyperException as error:
        code = terminal.fail(from_typer(error))
    except Exception as error:
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
