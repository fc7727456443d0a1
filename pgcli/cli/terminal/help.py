"""Help texts: examples first, commands by purpose, exit codes at the end.

They are plain text, because Typer's own help imports rich (0.3 s).
"""

import inspect
import shlex
import shutil
import textwrap
from collections.abc import Iterable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from pgcli.cli import foreign
from pgcli.cli.foreign_words import COMMANDS
from pgcli.errors import UsageError
from pgcli.suggest import did_you_mean

EXIT_CODES = """\
0         done
1         unexpected failure
2         bad usage or configuration, or a run name that is taken
3         environment failed
4         checkpoint missing, damaged or incompatible
5         training diverged
6         accelerator or memory unavailable
7         run directory locked by a live process
8         eval --min-return not reached
9         run not reproduced
130, 143  stopped by Ctrl-C or SIGTERM, after a final checkpoint"""

PURPOSES = ("Run", "Look", "Set up")
GLOBAL_PANEL = "global"


class HelpCommand(TyperCommand):
    """A command with its help as summary, usage, examples, parameters and notes."""

    def get_help_option(self, ctx: Any) -> Any:
        """The option `--help`, off where it is not given."""
        return _off(super().get_help_option(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parsed arguments; options in the words of other libraries become ours.

        Raises:
          UsageError: one has no equivalent, and its remedy is known.
        """
        if not ctx.resilient_parsing:
            known = foreign.options_of(self, ctx)
            arguments = any(p.param_type_name == "argument" for p in self.params)
            args, ctx.meta[foreign.NOTES] = foreign.read(
                args, known, ctx.command_path, arguments
            )
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            error.ctx = getattr(error, "ctx", None) or ctx  # type: ignore[attr-defined]
            raise

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the whole help into `formatter`."""
        formatter.write(_head(self, ctx) + _parameters(self, ctx) + _notes(self))


class HelpGroup(TyperGroup):
    """A group with its commands listed by purpose in the help."""

    def get_help_option(self, ctx: Any) -> Any:
        """The option `--help`, off where it is not given."""
        return _off(super().get_help_option(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the whole help into `formatter`."""
        formatter.write(_head(self, ctx))
        purposes: dict[str, list[tuple[str, str]]] = {name: [] for name in PURPOSES}
        for name, command in self.commands.items():
            purpose = getattr(command, "rich_help_panel", None) or "Commands"
            purposes.setdefault(purpose, []).append((name, _summary(command)))
        for purpose, rows in purposes.items():
            formatter.write(_section(purpose, rows))
        formatter.write(_parameters(self, ctx))
        if ctx.parent is None:
            formatter.write("\nShell completion: pgcli --install-completion\n")
            codes = textwrap.indent(EXIT_CODES, "  ")
            formatter.write(f"\nExit codes\n{codes}\n")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parsed arguments; options of a command may stand before it."""
        if not ctx.resilient_parsing:
            own = foreign.options_of(self, ctx)
            args = foreign.displaced(args, own, self.commands, ctx)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: Any, args: list[str]
    ) -> tuple[str | None, Any, list[str]]:
        """The command named by `args`; a UsageError if it does not exist."""
        if args[0] not in self.commands and not ctx.resilient_parsing:
            raise UsageError(
                f"unknown command `{args[0]}`",
                where=ctx.command_path,
                help=self._instead_of(args, ctx),
            )
        return super().resolve_command(ctx, args)

    def _instead_of(self, words: list[str], ctx: Any) -> str:
        """The remedy for an unknown command."""
        word = words[0].lower()
        if "train" in self.commands and foreign.trains(words[0]):
            known = foreign.options_of(self.commands["train"], ctx)
            ours, _ = foreign.read(words, known, ctx.command_path, arguments=False)
            return shlex.join([ctx.command_path, "train", *ours])
        if word in COMMANDS and ctx.parent is None:
            return COMMANDS[word]
        otherwise = f"one of: {', '.join(self.commands)}"
        return did_you_mean(word, self.commands, otherwise)


def _off(option: Any) -> Any:
    """The flag with default False: Typer imports pydantic for a default of None."""
    option.default = False
    return option


def _summary(command: Any) -> str:
    text = inspect.cleandoc(command.help or "").split("\n\n")[0]
    return " ".join(text.split())


def _notes(command: Any) -> str:
    text = inspect.cleandoc(command.help or "").partition("\n\n")[2]
    return f"\n{text.rstrip()}\n" if text else ""


def _head(command: Any, ctx: Any) -> str:
    """Summary, usage and examples."""
    pieces = " ".join(command.collect_usage_pieces(ctx))
    usage = f"{ctx.command_path} {pieces.replace('{', '').replace('}', '')}"
    text = f"{_summary(command)}\n\nUsage: {usage}\n"
    if command.epilog:
        examples = textwrap.indent(inspect.cleandoc(command.epilog), "  ")
        text += f"\nExamples\n{examples}\n"
    return text


def _parameters(command: Any, ctx: Any) -> str:
    arguments, options, shared = [], [], []
    for param in command.get_params(ctx):
        if getattr(param, "hidden", False):
            continue
        if param.param_type_name == "argument":
            arguments.append((param.display_name_raw, param.help or ""))
        elif getattr(param, "rich_help_panel", None) == GLOBAL_PANEL:
            shared.append(_option(param))
        elif "--help" in param.opts:
            shared.insert(0, ("-h, --help", "show this help"))
        else:
            options.append(_option(param))
    title = "Global options (before or after the command)"
    return (
        _section("Arguments", arguments)
        + _section("Options", options)
        + _section(title, shared)
    )


def _option(param: Any) -> tuple[str, str]:
    names = ", ".join(sorted(param.opts, key=len))
    if not param.is_flag:
        names += f" {param.metavar or param.bare_type().upper()}"
    text = param.help or ""
    shown = param.show_default
    default = shown if isinstance(shown, str) else param.default
    if shown and default not in (None, False, [], ()):
        text += f" [default: {default}]"
    return names, text


def _section(title: str, rows: Iterable[tuple[str, str]]) -> str:
    rows = list(rows)
    if not rows:
        return ""
    width = max(min(shutil.get_terminal_size().columns, 100), 60)
    left = min(max(len(name) for name, _ in rows), 30) + 4
    lines = [f"\n{title}"]
    for name, text in rows:
        first, *rest = textwrap.wrap(text, width - left) or [""]
        if len(name) + 4 > left:
            lines += [f"  {name}", " " * left + first]
        else:
            lines.append(f"  {name}".ljust(left) + first)
        lines += [" " * left + line for line in rest]
    return "\n".join(line.rstrip() for line in lines) + "\n"
