"""Flags that several commands share, and the way from flags to a configuration."""

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


class Interrupted(PgcliError):  # noqa: N818 - says what happened
    """Ctrl-C outside of training, where there is nothing to save."""

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
    "json": _flag("--json", help="stdout is exactly one JSON object"),
    "debug": _flag("--debug", help="show the traceback of an unexpected failure"),
    "version": _flag(
        "--version", help="show the version", is_eager=True, callback=_version
    ),
}


def with_global_flags(function: Callable[..., Any]) -> Callable[..., None]:
    """`function(terminal, **options)` with the global flags added, for Typer."""
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
      app: where to.
      name: what the user types.
      function: what it does; its docstring's first paragraph is the summary.
      purpose: heading that the command is listed under.
      examples: lines for the help, before the options.
      notes: lines for the help, after the options.
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
    """What a group does when none of its commands is named: the help, and exit 2."""
    if terminal.json:
        raise UsageError(f"{ctx.command_path} needs a command", help="see --help")
    terminal.say(ctx.get_help())
    raise typer.Exit(ExitCode.USAGE)


def complete_algorithm(incomplete: str) -> list[str]:
    """Algorithms that begin so."""
    return [
        n for n in (*ALGORITHM_CONFIGS, *ALGORITHM_ALIASES) if n.startswith(incomplete)
    ]


def complete_key(incomplete: str) -> list[str]:
    """Keys of the configuration that begin so."""
    from pgcli.config.explain import paths

    return [path for path in paths() if path.startswith(incomplete)]


def complete_set(incomplete: str) -> list[str]:
    """Keys for `--set` that begin so, with their `=`."""
    return [f"{path}=" for path in complete_key(incomplete)]


def complete_run(incomplete: str) -> list[str]:
    """Runs in `runs/` that begin so."""
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
        help="import this module of yours, for its environments; repeatable",
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
        help="YAML file, or a preset's name (style/openai), instead of the preset",
    ),
]
NoPreset = Annotated[
    bool, typer.Option("--no-preset", help="begin from the algorithm's defaults")
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
        help="runs side by side: N from --seed on, or seeds A to B - 1",
    ),
]
Grid = Annotated[
    list[str] | None,
    typer.Option(
        "--grid",
        metavar="KEY=V,V,…",
        help="values of a number to train side by side, repeatable",
        autocompletion=complete_set,
    ),
]
Devices = Annotated[
    str | None,
    typer.Option(
        "--devices",
        metavar="N",
        help="devices to use",
        show_default="all that are worth it",
    ),
]
Steps = Annotated[
    str | None,
    typer.Option(
        "--steps",
        metavar="N",
        help="environment steps to train",
        show_default=f"the preset's, else {DEFAULTS.steps}",
    ),
]
UntilReturn = Annotated[
    str | None,
    typer.Option(
        "--until-return",
        metavar="X",
        help="stop once a periodic evaluation's mean return reaches X",
    ),
]
Accelerator = Annotated[
    str | None,
    typer.Option(
        "--accelerator",
        metavar="auto|cpu|gpu|tpu",
        help="where the learner runs",
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
    Path, typer.Option("--runs-dir", metavar="DIR", help="where runs are kept")
]


def whole(text: str | None) -> int | float | str | None:
    """The number that a text spells, whole where it can be (`500_000`, `5e5`)."""
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        number = real(text)
    return int(number) if isinstance(number, float) and number.is_integer() else number


def real(text: str | None) -> float | str | None:
    """The number that a text spells, else the text."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return text


def whole_number(minimum: int) -> Any:
    """A parser for Typer: whole numbers from `minimum` on."""

    def parse(text: Any) -> int:
        number = whole(str(text))
        if not isinstance(number, int) or number < minimum:
            raise typer.BadParameter(
                f"expected a whole number from {minimum} on, not `{text}`"
            )
        return number

    return parse


def _seeds(text: str | None) -> tuple[Any, Any]:
    """(first, count) of `--seeds`: `8` says a count, `3:11` both."""
    if text is None or ":" not in text:
        return None, whole(text)
    first, _, end = text.partition(":")
    low, high = whole(first), whole(end)
    if not isinstance(low, int) or not isinstance(high, int) or not 0 <= low < high:
        raise UsageError(
            f"`--seeds {text}`: expected a count, or A:B with A below B",
            help="--seeds 8 takes 8 from --seed on; --seeds 3:11 takes 3 to 10",
        )
    return low, high - low


def _grid(texts: list[str] | None) -> dict[str, list[Any]] | None:
    """The keys and values of every `--grid`."""
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
    """The configuration that these flags mean, with the origin of every value.

    The modules may be imported from now on.

    Raises:
      ConfigError: with every mistake in file and flags at once.
      UsageError: there is no such module.
    """
    from pgcli.config.load import resolve

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
    use_modules(env_modules)
    return resolved


def use_modules(names: list[str] | None) -> None:
    """Lets environments come from these modules, for as long as the process lives.

    Raises:
      UsageError: there is no such module.
    """
    from pgcli.envs.user_modules import use

    use(names or ())
