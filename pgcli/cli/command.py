"""Functions as commands: global flags, flags of the configuration, groups."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import typer

import pgcli
from pgcli.cli import foreign
from pgcli.cli.options import CONFIG_FLAGS, option
from pgcli.cli.terminal.console import Terminal
from pgcli.cli.terminal.help import GLOBAL_PANEL, HelpCommand, HelpGroup
from pgcli.envs.waiting import exits_refused, watching
from pgcli.errors import ExitCode, PgcliError, UsageError


class Interrupted(PgcliError):  # noqa: N818 - an event, not an error
    """Ctrl-C outside of training, when there is nothing to save."""

    exit_code = ExitCode.INTERRUPTED


def missing_command(terminal: Terminal, ctx: typer.Context) -> None:
    """Shows a group's help and exits with 2: none of its commands was named."""
    if terminal.json:
        raise UsageError(f"{ctx.command_path} needs a command", help="see --help")
    terminal.say(ctx.get_help())
    raise typer.Exit(ExitCode.USAGE)


class Command(NamedTuple):
    """A command.

    Attributes:
      function: called with the terminal and the options; the first paragraph of its
        docstring is the summary.
      examples: lines of the help before the options.
      notes: lines of the help after the options.
      flags: names in `CONFIG_FLAGS`; the function gets their values as `flags`.
    """

    function: Callable[..., Any]
    examples: str = ""
    notes: str = ""
    flags: Sequence[str] = ()


class Group(NamedTuple):
    """A group of commands."""

    help: str
    examples: str
    commands: Mapping[str, Command]
    cls: type[HelpGroup] = HelpGroup

    def build(self, completion: bool = False) -> typer.Typer:
        """The group as an application of Typer."""
        app = typer.Typer(
            cls=self.cls,
            add_completion=completion,
            rich_markup_mode=None,
            pretty_exceptions_enable=False,
        )
        add = app.callback(
            invoke_without_command=True, help=self.help, epilog=self.examples
        )
        add(_typer_function(missing_command))
        for name, command in self.commands.items():
            add_command(app, name, command)
        return app


def add_command(
    app: typer.Typer, name: str, command: Command, purpose: str | None = None
) -> None:
    """Adds a command to a group, under the heading `purpose` of the group's help."""
    summary = inspect.cleandoc(command.function.__doc__ or "").partition("\n\n")[0]
    app.command(
        name,
        cls=HelpCommand,
        help=f"{summary}\n\n{command.notes}",
        epilog=command.examples,
        rich_help_panel=purpose,
    )(_typer_function(command.function, command.flags))


def _version(ctx: typer.Context, wanted: bool) -> None:
    if wanted:
        text = f"pgcli {pgcli.__version__}"
        ctx.obj.answer(text, {"ok": True, "version": pgcli.__version__})
        raise typer.Exit


_global = functools.partial(option, rich_help_panel=GLOBAL_PANEL)
GLOBAL_FLAGS: Mapping[str, Any] = {
    "quiet": _global("-q,--quiet", "show only warnings, errors and the result"),
    "verbose": _global("-v,--verbose", "show more on stderr"),
    "no_color": _global("--no-color", "no colours (also: NO_COLOR=1)"),
    "json": _global("--json", "print exactly one JSON object to stdout"),
    "debug": _global("--debug", "show the traceback of an unexpected failure"),
    "version": _global(
        "--version", "show the version", is_eager=True, callback=_version
    ),
}


def _typer_function(
    function: Callable[..., Any], config_flags: Sequence[str] = ()
) -> Callable[..., None]:
    """`function(terminal, **options)` as Typer calls it, with the global flags."""
    keyword = inspect.Parameter.KEYWORD_ONLY

    def parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
        return inspect.Parameter(name, keyword, default=default, annotation=annotation)

    # the context, the options of `function` with the flags of the configuration in
    # place of `flags` (but `--set` at the end), then the global flags
    flags = {
        name: parameter(name, CONFIG_FLAGS[name].annotation, CONFIG_FLAGS[name].default)
        for name in config_flags
    }
    last = [flags[name] for name in flags if name == "sets"]
    group = [flags[name] for name in flags if name != "sets"]
    own = dict(list(inspect.signature(function).parameters.items())[1:])
    wants_context = own.pop("ctx", None) is not None
    parameters = [inspect.Parameter("ctx", keyword, annotation=typer.Context)]
    for name, each in own.items():
        parameters += group if name == "flags" else [each.replace(kind=keyword)]
    parameters += last
    parameters += [
        parameter(name, Annotated[bool, flag], False)
        for name, flag in GLOBAL_FLAGS.items()
    ]

    @functools.wraps(function)
    def wrapper(ctx: typer.Context, **options: Any) -> None:
        terminal: Terminal = ctx.obj
        shared = {name: options.pop(name) for name in GLOBAL_FLAGS}
        del shared["version"]
        terminal.configure(**shared)
        if ctx.invoked_subcommand is not None:
            return
        for note in ctx.meta.pop(foreign.NOTES, ()):
            terminal.note(note)
        if wants_context:
            options["ctx"] = ctx
        if flags:
            options["flags"] = {name: options.pop(name) for name in flags}
        try:
            with (
                terminal.reserved_stdout(),
                watching(terminal.warn_late),
                exits_refused(),
            ):
                function(terminal, **options)
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None

    # Typer reads the options from the signature and the annotations
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper
