"""The keys of a configuration with type, bounds, default and documentation.

They are derived from the dataclasses of the schema.
"""

import dataclasses
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MinLen

from pgcli.config.algorithms import ALGORITHM_ALIASES, ALGORITHM_CONFIGS
from pgcli.config.bounds import AtMost
from pgcli.config.errors import printable
from pgcli.config.other_names import OTHER_ALGORITHMS, OTHER_NAMES
from pgcli.config.schema import RunConfig
from pgcli.errors import UsageError
from pgcli.suggest import did_you_mean, similar

COLLECTORS = {
    "steps": ("rollout.num_steps", "a fixed number of steps"),
    "episodes": ("rollout.episodes_per_env", "whole episodes"),
}
"""Kind of collection -> (key of its size, its name in words)."""

MOVED_KEYS = {
    "env.vectorizer": "host.vectorizer",
    "env.workers": "host.workers",
    "env.timeout": "host.timeout",
}
"""Keys of earlier versions, which are still read -> what they are called now."""


CAN_DERIVE = (
    "host.vectorizer",
    "eval.every",
    "checkpoint.every",
    "host.act",
    "parallel.shards",
    "algo.kl_target",
)
"""Keys whose value follows from others if it is null."""


@dataclass(frozen=True)
class Kind:
    """The accepted values of a key, as parsed from its annotation.

    Attributes:
      base: bool, int, float, str, tuple or dict; for items also Any.
      choices: allowed words, if only some are, or in addition to another type.
      bounds: bounds in words, such as `at least 1`.
      limit: technical upper bound, which is named only if a value exceeds it.
      optional: whether null is allowed.
      item: accepted items of a list, or None.
      doc: documentation in the annotation.
    """

    base: type
    choices: tuple[str, ...] = ()
    bounds: str = ""
    optional: bool = False
    item: "Kind | None" = None
    doc: str = ""
    limit: AtMost | None = None

    @property
    def expected(self) -> str:
        """The accepted values in words: `a number, above 0, or null`."""
        text = self._noun() + (f", {self.bounds}" if self.bounds else "")
        if self.choices and self.base is not str:
            text += f", or one of {', '.join(self.choices)}"
        return f"{text}{',' if self.bounds else ''} or null" if self.optional else text

    def _noun(self) -> str:
        if self.choices and self.base is str:
            several = len(self.choices) > 1
            words = ", ".join(self.choices)
            return f"one of {words}" if several else f"`{words}`"
        if self.item is not None:
            if self.item.base is Any:
                return "a list"
            return f"a list of which each item is {self.item.expected}"
        nouns = {
            bool: "true or false",
            int: "an integer",
            float: "a finite number",
            str: "a text",
            dict: "a mapping",
        }
        return nouns[self.base]


@dataclass(frozen=True)
class Field:
    """One key of the configuration: path, accepted values and default."""

    path: str
    kind: Kind
    default: Any

    @property
    def doc(self) -> str:
        """Documentation of the key."""
        return self.kind.doc


def kind_of(annotation: Any) -> Kind:
    """The accepted values that an annotation describes."""
    # unwrap Annotated, `| None` and `| Literal[…]`
    metadata: list[Any] = []
    words: tuple[str, ...] = ()
    optional = False
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            metadata += more
        elif get_origin(annotation) in (types.UnionType, Union):
            parts = get_args(annotation)
            optional = optional or type(None) in parts
            others = [p for p in parts if p is not type(None)]
            if len(others) > 1:  # a type or some words
                words = next(get_args(p) for p in others if get_origin(p) is Literal)
                others = [p for p in others if get_origin(p) is not Literal]
            (annotation,) = others
        else:
            break

    # documentation and bounds from the metadata, then the type
    doc = next((note for note in metadata if isinstance(note, str)), "")
    bounds = " and ".join(filter(None, map(_bound, metadata)))
    limit = next((note for note in metadata if isinstance(note, AtMost)), None)
    origin = get_origin(annotation)
    if origin is Literal:
        return Kind(str, get_args(annotation), bounds, optional, doc=doc)
    if origin is tuple:
        item = kind_of(get_args(annotation)[0])
        return Kind(tuple, (), bounds, optional, item, doc)
    base = dict if origin is Mapping else annotation
    return Kind(base, words, bounds, optional, doc=doc, limit=limit)


def _bound(note: Any) -> str:
    match note:
        case Ge(value):
            return f"at least {value}"
        case Gt(value):
            return f"above {value}"
        case Le(value):
            return f"at most {value}"
        case Lt(value):
            return f"below {value}"
        case MinLen(1):
            return "not empty"
    return ""


def known_name(algo: str) -> str | None:
    """The real name of an algorithm or alias in any case; None for another word."""
    folded = algo.lower().replace("_", "-")
    real = ALGORITHM_ALIASES.get(folded, folded)
    return real if real in ALGORITHM_CONFIGS else None


def real_name(algo: str) -> str:
    """The real name of an algorithm or alias; a UsageError if there is none."""
    if (real := known_name(algo)) is not None:
        return real
    help = f"there are {', '.join(ALGORITHM_CONFIGS)}"
    if near := similar(algo, [*ALGORITHM_CONFIGS, *ALGORITHM_ALIASES]):
        help = f"did you mean `{ALGORITHM_ALIASES.get(near[0], near[0])}`?"
    if "," in algo:
        help = f"one of them; `pgcli ladder --algos {printable(algo)}` compares several"
    help = OTHER_ALGORITHMS.get(algo.lower().replace("_", "-"), help)
    raise UsageError(f"unknown algorithm `{printable(algo)}`", help=help)


@cache
def fields(algo: str) -> Mapping[str, Field]:
    """All keys of a run of an algorithm, by dotted path, in the order of the schema."""
    cls = ALGORITHM_CONFIGS[algo]
    return {
        field.path: dataclasses.replace(
            field, default=cls.defaults.get(field.path, field.default)
        )
        for field in _walk(RunConfig, "", algo)
        if field.path not in unused(algo)
    }


@cache
def all_fields() -> Mapping[str, Field]:
    """The keys of all algorithms by dotted path."""
    return {path: f for algo in ALGORITHM_CONFIGS for path, f in fields(algo).items()}


@cache
def unused(algo: str) -> frozenset[str]:
    """Keys of the schema outside of `algo` that an algorithm does not use."""
    collects = ALGORITHM_CONFIGS[algo].collects
    return frozenset(path for way, (path, _) in COLLECTORS.items() if way != collects)


@cache
def sections() -> tuple[str, ...]:
    """Names of the sections."""
    hints = get_type_hints(RunConfig)
    return tuple(
        n for n, t in hints.items() if n == "algo" or dataclasses.is_dataclass(t)
    )


def lookup(path: str, algo: str) -> Literal["field", "section", "inside", "unknown"]:
    """Kind of a dotted path; `inside` is a key inside a free mapping."""
    known = fields(algo)
    if path in known:
        return "field"
    if path in sections():
        return "section"
    parts = path.split(".")
    for count in range(1, len(parts)):
        field = known.get(".".join(parts[:count]))
        if field is not None and field.kind.base is dict and all(parts):
            return "inside"
    return "unknown"


def suggest(path: str, algo: str) -> str | None:
    """A remedy for an unknown key: the nearest key, or all keys of its section."""
    # keys of another kind of collection or of another algorithm
    head, _, name = path.rpartition(".")
    known = [*fields(algo), *sections()]
    if path in unused(algo) or (not head and f"rollout.{name}" in unused(algo)):
        instead, what = COLLECTORS[ALGORITHM_CONFIGS[algo].collects]
        return f"{algo} collects {what}; did you mean `{instead}`?"
    if head == "algo" and (having := _owners(name)):
        return (
            f"`{name}` belongs to {_enumerate(having)}; this run trains {algo}. "
            "Remove it, or change `algo.name`"
        )

    # names of other libraries, then the same name elsewhere, then similar names
    siblings = [p.rpartition(".")[2] for p in known if p.rpartition(".")[0] == head]
    if (other := OTHER_NAMES.get(name)) in known:
        return f"did you mean `{other}`?"
    if same := [p for p in known if p.rpartition(".")[2] == name]:
        return f"did you mean `{same[0]}`?"
    if near := _nearest(name, head, known):
        return f"did you mean `{near}`?"
    if head == "algo" and (near := _nearest(name, head, [*all_fields()])):
        owners = _enumerate(_owners(near.removeprefix("algo.")))
        return f"the nearest is `{near}` of {owners}; this run trains {algo}"
    here = f"keys here: {', '.join(siblings)}" if siblings else None
    return did_you_mean(path, known, here)


def _nearest(name: str, section: str, known: Sequence[str]) -> str | None:
    """The key with the most similar last word; keys of the same section get a bonus."""
    best, best_score = None, 0.75
    for path in known:
        head, _, word = path.rpartition(".")
        score = SequenceMatcher(None, name, word).ratio() + 0.1 * (head == section)
        if score > best_score:
            best, best_score = path, score
    return best


def _owners(name: str) -> list[str]:
    return [algo for algo in ALGORITHM_CONFIGS if f"algo.{name}" in fields(algo)]


def _enumerate(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *some, last = names
    return f"{', '.join(some)} and {last}" if some else last


def _walk(cls: type, prefix: str, algo: str) -> list[Field]:
    hints = get_type_hints(cls, include_extras=True)
    keys: list[Field] = []
    for field in dataclasses.fields(cls):
        annotation: Any = hints[field.name]
        if cls is RunConfig and field.name == "algo":
            annotation = ALGORITHM_CONFIGS[algo]
        if dataclasses.is_dataclass(annotation):
            keys += _walk(annotation, f"{prefix}{field.name}.", algo)  # type: ignore[arg-type]
            continue
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        keys.append(Field(prefix + field.name, kind_of(annotation), default))
    return keys
