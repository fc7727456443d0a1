"""Explanations of configuration keys, for `pgcli config explain` and completion."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgcli.config.algorithms import ALGORITHM_CONFIGS, DEFAULT_ALGORITHM
from pgcli.config.dump import flow
from pgcli.config.errors import printable
from pgcli.config.fields import fields, real_name, sections, suggest
from pgcli.config.schema import RunConfig
from pgcli.config.source.files import BASE
from pgcli.errors import UsageError

_BASES: dict[type, str] = {dict: "mapping", tuple: "list", str: "text"}


@dataclass(frozen=True)
class Explanation:
    """The explanation of one key, with texts as they are shown.

    Attributes:
      type: name of its type, or the choices if only some words are allowed.
      other_defaults: algorithm -> default, for algorithms with another default.
      differs: algorithms that have a key of this name with another meaning or type.
      algorithms: algorithms that have the key.
    """

    path: str
    type: str
    bounds: str
    default: str
    other_defaults: Mapping[str, str]
    differs: tuple[str, ...]
    doc: str
    algorithms: tuple[str, ...]

    def __str__(self) -> str:
        lines = [self.path, f"  {self.doc}", f"  type     {self.type}"]
        if self.bounds:
            lines.append(f"  bounds   {self.bounds}")
        lines.append(f"  default  {self.default}")
        for algo, default in self.other_defaults.items():
            lines.append(f"           {default} in {algo}")
        if self.differs:
            lines.append(f"  differs  in {', '.join(self.differs)}: see `--algo`")
        if len(self.algorithms) < len(ALGORITHM_CONFIGS):
            lines.append(f"  only in  {', '.join(self.algorithms)}")
        return "\n".join(lines)


def describe(path: str, algo: str | None = None) -> Explanation:
    """The explanation of a key such as `algo.clip_eps`; a UsageError if there is none.

    Without `algo` it is for the default algorithm or else for the first that has the
    key, and lists the defaults of the others.
    """
    # the algorithm
    owners = tuple(each for each in ALGORITHM_CONFIGS if path in fields(each))
    default = DEFAULT_ALGORITHM.name
    if algo is None:
        algo = default if default in owners or not owners else owners[0]
        others = owners
    else:
        others = ()
    name = real_name(algo)

    # the key
    known = fields(name)
    if path not in known:
        if path in sections():
            inside = [key for key in known if key.startswith(f"{path}.")]
            raise UsageError(
                f"`{path}` is a section", help=f"its keys: {', '.join(inside)}"
            )
        raise UsageError(f"unknown key `{printable(path)}`", help=suggest(path, name))

    # its type and bounds in words
    field = known[path]
    kind = field.kind
    item = kind.item
    text = ", ".join(kind.choices)
    if not kind.choices or kind.base is not str:
        base = _BASES.get(kind.base, kind.base.__name__)
        text = f"{base}, or {text}" if text else base
    bounds = [kind.bounds] if kind.bounds else []
    if item is not None:
        if item.base is not Any:
            text += f" of {_BASES.get(item.base, item.base.__name__)}"
        bounds += [f"each {item.bounds}"] if item.bounds else []
    if kind.optional:
        text += ", or null"

    # its defaults, where they differ between algorithms
    usual = flow(field.default)
    defaults = {each: flow(fields(each)[path].default) for each in others}
    return Explanation(
        path,
        text,
        "; ".join(bounds),
        usual,
        {each: value for each, value in defaults.items() if value != usual},
        tuple(each for each in others if fields(each)[path].kind != kind),
        kind.doc,
        owners,
    )


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file, for editors."""
    from pgcli.config.validate import adapter

    schema = adapter(RunConfig).json_schema()
    base = {"type": "string", "description": "name of a preset to start from"}
    return {**schema, "properties": {BASE: base, **schema["properties"]}}
