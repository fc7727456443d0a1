"""Flags shared by several commands, and the configuration made from them."""

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import pgcli
from pgcli.cli.terminal.console import Terminal
from pgcli.cli.terminal.help import GLOBAL_PANEL, HelpCommand
from pgcli.config.algorithms import ALGORITHM_ALIASES, ALGORITHM_CONFIGS
from pgcli.config.schema import RunConfig
from pgcli.errors import ExitCode, PgcliError, UsageError

if TYPE_CHECKING:
    from pgcli.config.load import Resolved

DEFAULTS = RunConfig()


class Interrupted(PgcliError):  # noqa: N818 - an event, not an error
    """Ctrl-C outside of training, when there is nothing to save."""

    exit_code = ExitCode.INTERRUPTED


def _version(ctx: typer.Context, wanted: bool) -> None:
    if wanted:
        text = f"pgcli {pgcli.__version__}"
        ctx.obj.answer(text, {"ok": True, "version": pgcli.__version__})
        raise typer.Exit


def _flag(*names: str, help: str, **more: Any) -> Any:
    return Annotated[
        bool, typer.Option(*names, help=help, rich_help_panel=GLOBAL_PANEL, **more)
    ]


GLOBAL_FLAGS: Mapping[str, Any] = {
    "quiet": _flag("-q", "--quiet", help="show only warnings, errors and the result"),
    "verbose": _flag("-v", "--verbose", help="show more on stderr"),
    "no_color": _flag("--no-color", help="no colours (also: NO_COLOR=1)"),
    "json": _flag("--json", help="print exactly one JSON object to stdout"),
    "debug": _flag("--debug", help="show the traceback of an unexpected failure"),
    "version": _flag(
        "--version", help="show the version", is_eager=True, callback=_version
    ),
}


def with_global_flags(function: Callable[..., Any]) -> Callable[..., None]:
    """`function(terminal, **options)` as a Typer command with the global flags."""
    # the new signature: the function's own options, then the global flags
    own = list(inspect.signature(function).parameters.values())[1:]
    keyword = inspect.Parameter.KEYWORD_ONLY
    added = [
        inspect.Parameter(name, keyword, default=False, annotation=annotation)
        for name, annotation in GLOBAL_FLAGS.items()
    ]
    context = inspect.Parameter("ctx", keyword, annotation=typer.Context)
    wants_context = any(parameter.name == "ctx" for parameter in own)
    own = [parameter for parameter in own if parameter.name != "ctx"]

    @functools.wraps(function)
    def wrapper(ctx: typer.Context, **options: Any) -> None:
        terminal: Terminal = ctx.obj
        flags = {name: options.pop(name) for name in GLOBAL_FLAGS}
        del flags["version"]
        terminal.configure(**flags)
        if ctx.invoked_subcommand is not None:
            return
        if wants_context:
            options["ctx"] = ctx
        try:
            with terminal.reserved_stdout():
                function(terminal, **options)
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None

    # Typer reads the options from the signature and the annotations
    parameters = [context, *(p.replace(kind=keyword) for p in own), *added]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


def add_command(
    app: typer.Typer,
    name: str,
    function: Callable[..., Any],
    *,
    purpose: str | None = None,
    examples: str = "",
    notes: str = "",
) -> None:
    """Registers `function(terminal, **options)` as the command `name` of `app`.

    Args:
      app: the group.
      name: name of the command.
      function: the command; the first paragraph of its docstring is the summary.
      purpose: heading of the command in the group's help.
      examples: lines of the help before the options.
      notes: lines of the help after the options.
    """
    summary = inspect.cleandoc(function.__doc__ or "").partition("\n\n")[0]
    app.command(
        name,
        cls=HelpCommand,
        help=f"{summary}\n\n{notes}",
        epilog=examples,
        rich_help_panel=purpose,
    )(with_global_flags(function))


def missing_command(terminal: Terminal, ctx: typer.Context) -> None:
    """Shows a group's help and exits with 2: none of its commands was named."""
    if terminal.json:
        raise UsageError(f"{ctx.command_path} needs a command", help="see --help")
    terminal.say(ctx.get_help())
    raise typer.Exit(ExitCode.USAGE)


def complete_algorithm(incomplete: str) -> list[str]:
    """Algorithms that begin with `incomplete`."""
    return [
        n for n in (*ALGORITHM_CONFIGS, *ALGORITHM_ALIASES) if n.startswith(incomplete)
    ]


def complete_key(incomplete: str) -> list[str]:
    """Keys of the configuration that begin with `incomplete`."""
    from pgcli.config.explain import paths

    return [path for path in paths() if path.startswith(incomplete)]


def complete_set(incomplete: str) -> list[str]:
    """Keys that begin with `incomplete`, each followed by `=`, for `--set`."""
    return [f"{path}=" for path in complete_key(incomplete)]


def complete_run(incomplete: str) -> list[str]:
    """Runs in `runs/` that begin with `incomplete`."""
    names = (p.parent.name for p in Path("runs").glob("*/config.yaml"))
    return sorted(name for name in names if name.startswith(incomplete))


Algo = Annotated[
    str | None,
    typer.Option(
        "--algo",
        metavar="NAME",
        help=f"algorithm: {', '.join(ALGORITHM_CONFIGS)}",
        show_default=DEFAULTS.algo.name,
        autocompletion=complete_algorithm,
    ),
]
Env = Annotated[
    str | None,
    typer.Option(
        "--env",
        metavar="ID",
        help="environment, see `pgcli envs`",
        show_default=DEFAULTS.env.id,
    ),
]
EnvModules = Annotated[
    list[str] | None,
    typer.Option(
        "--env-module",
        metavar="MODULE",
        help="import a module that registers environments, repeatable",
    ),
]
EnvKwargs = Annotated[
    list[str] | None,
    typer.Option(
        "--env-kwargs",
        metavar="NAME=VALUE",
        help="argument of the environment, repeatable; also {NAME: VALUE, …} or JSON",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE",
        help="YAML file, or name of a preset (style/openai); replaces the preset",
    ),
]
NoPreset = Annotated[
    bool, typer.Option("--no-preset", help="start from the algorithm's defaults")
]
Seed = Annotated[
    str | None,
    typer.Option(
        "--seed", metavar="N", help="random seed", show_default=str(DEFAULTS.seed)
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option(
        "--seeds",
        metavar="N|A:B",
        help="train several seeds in one run: N seeds from --seed on, or A to B - 1",
    ),
]
Grid = Annotated[
    list[str] | None,
    typer.Option(
        "--grid",
        metavar="KEY=V,V,…",
        help="train several values of a number in one run, repeatable",
        autocompletion=complete_set,
    ),
]
Devices = Annotated[
    str | None,
    typer.Option(
        "--devices",
        metavar="N",
        help="number of devices",
        show_default="as many as shorten the work",
    ),
]
Steps = Annotated[
    str | None,
    typer.Option(
        "--steps",
        metavar="N",
        help="number of environment steps",
        show_default=f"the preset's, else {DEFAULTS.steps}",
    ),
]
UntilReturn = Annotated[
    str | None,
    typer.Option(
        "--until-return",
        metavar="X",
        help="stop when the mean return of a periodic evaluation reaches X",
    ),
]
Accelerator = Annotated[
    str | None,
    typer.Option(
        "--accelerator",
        metavar="auto|cpu|gpu|tpu",
        help="device of the learner",
        show_default=DEFAULTS.accelerator,
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="any key of the configuration, repeatable; see `pgcli config show`",
        autocompletion=complete_set,
    ),
]
RunsDir = Annotated[
    Path, typer.Option("--runs-dir", metavar="DIR", help="directory of the runs")
]


def whole(text: str | None) -> int | float | str | None:
    """The number in a text, an int if possible (`500_000`, `5e5`), else the text."""
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        number = real(text)
    return int(number) if isinstance(number, float) and number.is_integer() else number


def real(text: str | None) -> float | str | None:
    """The number in a text, else the text."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return text


def whole_number(minimum: int) -> Any:
    """A Typer parser of whole numbers that are at least `minimum`."""

    def parse(text: Any) -> int:
        number = whole(str(text))
        if not isinstance(number, int) or number < minimum:
            raise typer.BadParameter(
                f"expected a whole number of at least {minimum}, not `{text}`"
            )
        return number

    return parse


def _seeds(text: str | None) -> tuple[Any, Any]:
    """(first, count) of `--seeds`; `first` is None if the text is only a count."""
    if text is None or ":" not in text:
        return None, whole(text)
    first, _, end = text.partition(":")
    low, high = whole(first), whole(end)
    if not isinstance(low, int) or not isinstance(high, int) or not 0 <= low < high:
        raise UsageError(
            f"`--seeds {text}`: expected a count, or A:B with A below B",
            help="--seeds 8 trains 8 seeds from --seed on; --seeds 3:11 trains 3 to 10",
        )
    return low, high - low


def _grid(texts: list[str] | None) -> dict[str, list[Any]] | None:
    """Values by key of all `--grid` flags; None without any."""
    if not texts:
        return None
    grid: dict[str, list[Any]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        if not equals or not values or key in grid:
            raise UsageError(
                f"`--grid {text}`: expected KEY=VALUE,VALUE,…, each key once",
                help="for example --grid optimizer.lr=1e-4,3e-4,1e-3",
            )
        grid[key.strip()] = [real(value.strip()) for value in values.split(",")]
    return grid


def resolve_config(
    terminal: Terminal,
    *,
    algo: str | None = None,
    env: str | None = None,
    config: Path | None = None,
    no_preset: bool = False,
    seed: str | None = None,
    seeds: str | None = None,
    grid: list[str] | None = None,
    devices: str | None = None,
    steps: str | None = None,
    until_return: str | None = None,
    accelerator: str | None = None,
    env_modules: list[str] | None = None,
    env_kwargs: list[str] | None = None,
    sets: list[str] | None = None,
) -> "Resolved":
    """The configuration given by these flags, with the origin of every value.

    Imports of the modules are allowed from now on.

    Raises:
      ConfigError: file or flags are wrong; it lists all mistakes.
      UsageError: a module does not exist.
    """
    from pgcli.config.load import resolve

    # flags by the key that they set, with their spelling for error messages

    first, count = _seeds(seeds)
    if first is not None and seed is not None:
        raise UsageError(f"`--seeds {seeds}` and `--seed` exclude each other")
    given: dict[str, tuple[Any, str]] = {
        "algo.name": (algo, "--algo"),
        "env.id": (env, "--env"),
        "seed": (whole(seed) if first is None else first, "--seed"),
        "seeds": (count, "--seeds"),
        "grid": (_grid(grid), "--grid"),
        "parallel.devices": (whole(devices), "--devices"),
        "steps": (whole(steps), "--steps"),
        "until_return": (real(until_return), "--until-return"),
        "accelerator": (accelerator, "--accelerator"),
    }
    flags = {path: pair for path, pair in given.items() if pair[0] is not None}
    resolved = resolve(
        file=config,
        flags=flags,
        sets=tuple(sets or ()),
        env_kwargs=tuple(env_kwargs or ()),
        use_preset=not no_preset,
    )
    if resolved.note is not None:
        terminal.note(resolved.note)
    use_modules(env_modules)
    return resolved


def use_modules(names: list[str] | None) -> None:
    """Allows imports of these modules for environments, for the whole process.

    Raises:
      UsageError: a module does not exist.
    """
    from pgcli.envs.user_modules import use

    use(names or ())
