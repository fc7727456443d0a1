"""What a key of the configuration means: for `pgcli config explain` and completion."""

from dataclasses import dataclass
from typing import Any

from pgcli.config.algorithms import ALGORITHM_ALIASES, ALGORITHM_CONFIGS, PPO2Config
from pgcli.config.dump import flow
from pgcli.config.errors import printable
from pgcli.config.fields import fields, sections, suggest
from pgcli.config.schema import RunConfig
from pgcli.errors import UsageError

_BASES: dict[type, str] = {dict: "mapping", tuple: "list", str: "text"}


@dataclass(frozen=True)
class Explanation:
    """What there is to know about one key.

    Attributes:
      path: dotted path.
      type: its type, in a word; the choices, where only some words are allowed.
      bounds: in words, or the empty text.
      default: as it would be written in YAML.
      doc: what it does.
      algorithms: which algorithms have it.
    """

    path: str
    type: str
    bounds: str
    default: str
    doc: str
    algorithms: tuple[str, ...]

    def __str__(self) -> str:
        """The explanation as lines of text."""
        lines = [self.path, f"  {self.doc}", f"  type     {self.type}"]
        if self.bounds:
            lines.append(f"  bounds   {self.bounds}")
        lines.append(f"  default  {self.default}")
        if len(self.algorithms) < len(ALGORITHM_CONFIGS):
            lines.append(f"  only in  {', '.join(self.algorithms)}")
        return "\n".join(lines)


def describe(path: str, algo: str | None = None) -> Explanation:
    """What a key means, its type, bounds and default.

    Args:
      path: dotted path of a key, such as `algo.clip_eps`.
      algo: the algorithm whose keys `algo.*` are; the first that has the key if None.

    Raises:
      UsageError: if there is no such key.
    """
    owners = tuple(each for each in ALGORITHM_CONFIGS if path in fields(each))
    default = PPO2Config.name
    if algo is None:
        algo = default if default in owners or not owners else owners[0]
    name = algorithm(algo)
    known = fields(name)
    if path not in known:
        if path in sections():
            inside = [key for key in known if key.startswith(f"{path}.")]
            raise UsageError(
                f"`{path}` is a section", help=f"its keys: {', '.join(inside)}"
            )
        raise UsageError(f"unknown key `{printable(path)}`", help=suggest(path, name))
    field = known[path]
    kind = field.kind
    item = kind.item
    text = ", ".join(kind.choices) or _BASES.get(kind.base, kind.base.__name__)
    bounds = [kind.bounds] if kind.bounds else []
    if item is not None:
        text += f" of {_BASES.get(item.base, item.base.__name__)}"
        bounds += [f"each {item.bounds}"] if item.bounds else []
    if kind.optional:
        text += ", or null"
    return Explanation(
        path, text, "; ".join(bounds), flow(field.default), kind.doc, owners
    )


def algorithm(name: str) -> str:
    """The real name of an algorithm or of an alias.

    Raises:
      UsageError: if there is none of that name.
    """
    real = ALGORITHM_ALIASES.get(name, name)
    if real not in ALGORITHM_CONFIGS:
        raise UsageError(
            f"unknown algorithm `{printable(name)}`",
            help=f"there are {', '.join(ALGORITHM_CONFIGS)}",
        )
    return real


def paths(algo: str | None = None) -> list[str]:
    """Every dotted path, of one algorithm or of all, for the completion of `--set`."""
    names = ALGORITHM_CONFIGS if algo is None else (algorithm(algo),)
    return list(dict.fromkeys(path for name in names for path in fields(name)))


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file, for editors."""
    from pgcli.config.validate import adapter

    return adapter(RunConfig).json_schema()
