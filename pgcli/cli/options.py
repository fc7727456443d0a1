"""Options shared by several commands, and the configuration made from them."""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from pgcli.cli.completers import (
    choices,
    complete_algorithm,
    complete_env,
    complete_preset,
    complete_run,
    complete_set,
)
from pgcli.cli.terminal.console import Terminal
from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.schema import RunConfig
from pgcli.config.source import families
from pgcli.errors import UsageError

if TYPE_CHECKING:
    from pgcli.config.load import Resolved

DEFAULTS = RunConfig()

Flags = Mapping[str, Any]
"""Values of the flags of `CONFIG_FLAGS` that a command takes, by name."""


def option(text: str, help: str, shown: str | bool = True, **more: Any) -> Any:
    """An option of Typer, such as `option("-c,--config FILE", "YAML file")`.

    Args:
      text: spellings of the option, and the name of its value if it takes one.
      help: meaning.
      shown: the default as text; True shows the value itself.
      **more: further arguments of `typer.Option`.
    """
    names, _, metavar = text.partition(" ")
    return typer.Option(
        *names.split(","),
        metavar=metavar or None,
        help=help,
        show_default=shown,
        **more,
    )


def whole(text: str | None) -> int | float | str | None:
    """Number in a text, an int if possible (`500_000`, `5e5`, `5k`), else the text."""
    if text is None:
        return None
    zeros = {"k": "e3", "K": "e3", "M": "e6"}.get(text[-1:])
    try:
        return int(text)
    except ValueError:
        number = real(text[:-1] + zeros) if zeros and text[:-1] else real(text)
    if isinstance(number, float) and number.is_integer():
        return int(number)
    return text if zeros else number


def real(text: str | None) -> float | str | None:
    """The number in a text, else the text."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return text


def duration(text: str | None) -> float | None:
    """Seconds in a text such as `600`, `90s` or `1.5h`; a UsageError if it is none."""
    if text is None:
        return None
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], 0)
    number = real(text[:-1] if unit else text)
    if not isinstance(number, float) or not 0 < number < math.inf:
        raise UsageError(
            f"`--max-seconds {text}`: expected a number above 0, of seconds or with a "
            "unit: s, m or h",
            help="for example --max-seconds 600, 10m or 1.5h",
        )
    return number * (unit or 1)


def whole_number(minimum: int, maximum: float) -> Any:
    """A Typer parser of whole numbers from `minimum` to `maximum`."""

    def parse(text: Any) -> int:
        number = whole(str(text))
        if not isinstance(number, int) or number < minimum:
            raise typer.BadParameter(
                f"expected a whole number of at least {minimum}, not `{text}`"
            )
        if number > maximum:
            raise typer.BadParameter(f"expected at most {maximum:,}, not `{text}`")
        return number

    return parse


def _seconds(text: Any) -> float:
    number = real(str(text))
    if not isinstance(number, float) or not 0 < number < 3600:
        message = f"expected a number above 0 and below 3600, not `{text}`"
        raise typer.BadParameter(message)
    return number


def _seeds(text: str | None) -> tuple[Any, Any]:
    """(first, count) of `--seeds`; `first` is None if the text is only a count."""
    if text is not None and "," in text:
        listed = [whole(seed.strip()) for seed in text.split(",")]
        if all(isinstance(seed, int) for seed in listed) and listed == [
            *range(int(listed[0] or 0), int(listed[-1] or 0) + 1)
        ]:
            return listed[0], len(listed)
        raise UsageError(
            f"`--seeds {text}`: the seeds of one run follow each other",
            help="--seeds 3:6 trains 3, 4 and 5; for others, a run each: --seed 3",
        )
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


def _one_seed(text: str | None) -> int | float | str | None:
    if text is not None and re.fullmatch(r"\d+([,:]\d+)+", text):
        raise UsageError(
            f"`--seed {text}`: expected one number", help=f"several are --seeds {text}"
        )
    return whole(text)


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


def exists_already(path: Path) -> UsageError:
    """The error for a file that is not to be replaced."""
    return UsageError(
        f"{path} exists already", help="choose another -o, or --overwrite"
    )


def write(path: Path, text: str, overwrite: bool) -> None:
    """Writes a file; without `overwrite`, a UsageError if it exists."""
    try:
        with path.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise exists_already(path) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


EnvModules = Annotated[
    list[str] | None,
    option(
        "--env-module MODULE", "import a module that registers environments, repeatable"
    ),
]
NetworkModules = Annotated[
    list[str] | None,
    option(
        "--network-module MODULE", "import a module of your own networks, repeatable"
    ),
]
EnvKwargs = Annotated[
    list[str] | None,
    option(
        "--env-kwargs NAME=VALUE",
        "argument of the environment, repeatable; also {NAME: VALUE, …} or JSON",
    ),
]
RunsDir = Annotated[Path, option("--runs-dir DIR", "directory of the runs")]
Seconds = Annotated[
    float, option("--seconds X", "total time of the measurement", parser=_seconds)
]
Member = Annotated[
    str | None, option("--member SEED[,KEY=V]", "only this member", False)
]
Run = Annotated[
    str, typer.Argument(metavar="RUN", help="name or path", autocompletion=complete_run)
]
Runs = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN…", help="names or paths of runs", autocompletion=complete_run
    ),
]


Distributed = Annotated[
    str | None,
    option(
        "--distributed auto",
        "one run on all processes of a Slurm, Open MPI, Kubernetes or TPU job",
        autocompletion=choices("auto"),
    ),
]
Coordinator = Annotated[
    str | None,
    option("--coordinator HOST:PORT", "one run on several machines: that of process 0"),
]
Process = Annotated[
    str | None, option("--process I/N", "with --coordinator: process I of N, from 0")
]


class ConfigFlag(NamedTuple):
    """A flag of the configuration.

    Attributes:
      annotation: type and option, as Typer reads them.
      key: dotted path of the key that it sets, if it sets exactly one.
      spelling: its name in messages.
      read: the key's value, from the text of the flag.
    """

    annotation: Any
    key: str | None
    spelling: str
    read: Callable[[str | None], Any]

    @property
    def default(self) -> Any:
        """Value if the flag is not given."""
        return False if self.annotation.__origin__ is bool else None


def _flag(
    text: str,
    help: str,
    shown: str | bool = True,
    *,
    key: str | None = None,
    read: Callable[[str | None], Any] = lambda text: text,
    type: Any = str | None,
    **more: Any,
) -> ConfigFlag:
    annotation = Annotated[type, option(text, help, shown, **more)]
    return ConfigFlag(annotation, key, text.partition(" ")[0], read)


CONFIG_FLAGS: Mapping[str, ConfigFlag] = {
    "algo": _flag(
        "--algo NAME",
        f"algorithm: {', '.join(ALGORITHM_CONFIGS)}",
        DEFAULTS.algo.name,
        key="algo.name",
        autocompletion=complete_algorithm,
    ),
    "env": _flag(
        "--env ID",
        "environment, see `pgcli envs`",
        DEFAULTS.env.id,
        key="env.id",
        autocompletion=complete_env,
    ),
    "env_modules": ConfigFlag(EnvModules, None, "--env-module", whole),
    "network_modules": ConfigFlag(NetworkModules, None, "--network-module", whole),
    "env_kwargs": ConfigFlag(EnvKwargs, None, "--env-kwargs", whole),
    "config": _flag(
        "-c,--config FILE",
        "YAML file, or name of a preset (style/openai), repeatable; replaces the "
        "preset unless it names it as its `base`",
        type=list[Path] | None,
        autocompletion=complete_preset,
    ),
    "no_preset": _flag("--no-preset", "start from the algorithm's defaults", type=bool),
    "seed": _flag(
        "--seed N", "random seed", str(DEFAULTS.seed), key="seed", read=_one_seed
    ),
    "seeds": _flag(
        "--seeds N|A:B",
        "train several seeds in one run: N seeds from --seed on, or A to B - 1",
    ),
    "grid": _flag(
        "--grid KEY=V,V,…",
        "train several values of a number in one run, repeatable",
        type=list[str] | None,
        autocompletion=complete_set,
    ),
    "steps": _flag(
        "--steps N",
        "number of environment steps",
        "that of the preset, or by the spaces",
        key="steps",
        read=whole,
    ),
    "until_return": _flag(
        "--until-return X",
        "stop when the mean return of a periodic evaluation reaches X",
        key="until_return",
        read=real,
    ),
    "patience": _flag(
        "--patience N",
        "stop after N periodic evaluations in a row without a new best",
        key="patience",
        read=whole,
    ),
    "max_seconds": _flag(
        "--max-seconds TIME",
        "stop after this time of the run, such as 90s, 10m or 1.5h",
        key="max_seconds",
        read=duration,
    ),
    "accelerator": _flag(
        "--accelerator auto|cpu|gpu|tpu",
        "device of the learner",
        DEFAULTS.accelerator,
        key="accelerator",
        autocompletion=choices("auto", "cpu", "gpu", "tpu"),
    ),
    "devices": _flag(
        "--devices N",
        "number of devices",
        "as many as shorten the work",
        key="parallel.devices",
        read=whole,
    ),
    "sets": _flag(
        "--set KEY=VALUE",
        "any key of the configuration, repeatable; see `pgcli config show`",
        type=list[str] | None,
        autocompletion=complete_set,
    ),
}


def resolve_config(
    terminal: Terminal,
    flags: Flags,
    *,
    use_preset: bool = True,
    spaces: "Callable[[RunConfig], tuple[str | None, Mapping[str, Any]]] | None" = None,
) -> "Resolved":
    """The configuration given by these flags, with the origin of every value.

    Imports of the modules are allowed from now on. `spaces` is that of
    `pgcli.config.load.resolve`.

    Raises:
      ConfigError: file or flags are wrong; it lists all mistakes.
      UsageError: a module does not exist.
    """
    from pgcli.config.load import resolve

    # (value, spelling) of the flags by the key that they set; `--seeds` sets two
    first, count = _seeds(flags.get("seeds"))
    if first is not None and flags.get("seed") is not None:
        raise UsageError(f"`--seeds {flags['seeds']}` and `--seed` exclude each other")
    given = {
        flag.key: (flag.read(flags.get(name)), flag.spelling)
        for name, flag in CONFIG_FLAGS.items()
        if flag.key is not None
    }
    given["seeds"] = count, "--seeds"
    given["grid"] = _grid(flags.get("grid")), "--grid"
    if first is not None:
        given["seed"] = first, "--seed"

    use_modules(flags.get("env_modules"), flags.get("network_modules"))
    resolved = resolve(
        file=flags.get("config"),
        flags=given,
        sets=tuple(flags.get("sets") or ()),
        env_kwargs=tuple(flags.get("env_kwargs") or ()),
        use_preset=use_preset and not flags.get("no_preset", False),
        spaces=spaces,
        full_id=None if flags.get("env_modules") else _full_id,
    )
    if resolved.note is not None:
        terminal.note(resolved.note)
    return resolved


def look(config: RunConfig) -> "tuple[str | None, Mapping[str, Any]]":
    """See `pgcli.training.space_defaults`, which imports NumPy."""
    from pgcli.training import space_defaults

    return space_defaults.look(config)


def _full_id(env_id: str) -> tuple[str, str | None]:
    """See `pgcli.envs.full_id`, which imports Gymnasium."""
    from pgcli.envs.full_id import full_id

    return full_id(env_id)


def source_of(resolved: "Resolved", flags: Flags) -> str:
    """The files or the preset that a configuration comes from, as text."""
    files = ", ".join(map(str, flags.get("config") or ()))
    preset = resolved.preset and f"preset {resolved.preset}"
    if not files and (family := families.title(resolved.preset)) is not None:
        preset = f"preset of the family {family} ({resolved.preset})"
    if files and preset and resolved.preset not in files.split(", "):
        text = f"{files} on {preset}"
    else:
        defaults = f"defaults of {resolved.config.algo.name}"
        defaults += "" if resolved.spaces is None else f" for {resolved.spaces}"
        text = files or preset or defaults
    if (unused := resolved.unused_preset) is None:
        text += "" if files or preset else ", no preset"
    else:
        way = f": `base: {unused}` in a file starts from it" if files else ""
        text += f"; preset {unused} is not used{way}"
    return f"configuration: {text}"


def use_modules(names: list[str] | None, networks: list[str] | None = None) -> None:
    """Allows imports of modules in this process; a UsageError if one is missing."""
    from pgcli.envs.user_modules import use, use_networks

    use(names or ())
    use_networks(networks or ())
