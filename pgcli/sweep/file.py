"""The YAML file of a sweep: its keys, and the search space in it."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from pgcli.config.errors import ConfigError, Mark
from pgcli.config.fields import sections
from pgcli.config.issues import say
from pgcli.config.source import presets, yaml_file
from pgcli.config.source.command_line import Assignment
from pgcli.config.source.document import Document, KeyPath
from pgcli.config.source.files import FILE
from pgcli.suggest import did_you_mean
from pgcli.sweep.space import Dimension, Label, Labels, Space, active, walk
from pgcli.sweep.space_reader import SpaceReader, complain

SAMPLERS = ("grid", "random", "tpe", "gp", "cmaes")
PRUNERS = ("none", "median", "hyperband")
KEYS = ("base", "config", "space", "sampler", "pruner", "trials", "hours", "slurm")


@dataclasses.dataclass(frozen=True)
class SweepFile:
    """A parsed sweep file.

    Attributes:
      base: file or preset below `config`, or None.
      config: keys of the configuration that all trials share.
      places: paths in the file of the keys of `space`, by the name of the dimension.
      trials: number of trials, or None.
      hours: time for which trials run, or None.
      slurm: options of `sbatch`, by name.
      document: the text with positions, for messages.
    """

    path: Path
    base: Path | None
    config: tuple[Assignment, ...]
    space: Space
    places: Mapping[str, KeyPath]
    sampler: str
    pruner: str
    trials: int | None
    hours: float | None
    slurm: Mapping[str, str]
    document: Document

    def fail(self, message: str, path: KeyPath, help: str | None = None) -> NoReturn:
        """Raises a mistake at a path of the file."""
        complain(self.document, message, path, help)
        raise ConfigError(self.document.issues)

    def assignments(self, labels: Labels) -> list[Assignment]:
        """The keys that a trial sets."""
        return [
            Assignment(tuple(dimension.key.split(".")), dimension.value(chosen), part)
            for dimension, chosen in active(self.space, labels)
            if dimension.sets_key
            for part in [self._part(dimension, chosen)]
        ]

    def _part(self, dimension: Dimension, chosen: Label) -> Document:
        """The document of a value of a dimension."""
        document, path = self.document, self.places[dimension.name]
        part = _part(document, path, dimension.value(chosen))
        if dimension.kind == "choice":
            index = dimension.labels.index(chosen)
            text = str(list(_down(document.tree, path, "choice"))[index])
            found = [
                document.values.get((*path, *to, index)) for to in [(), ["choice"]]
            ]
            found += [document.keys.get((*path, "choice", text))]
            mark = next((mark for mark in found if mark), None)
            part.values = {} if mark is None else {(): mark}
        return part


def read(path: Path) -> SweepFile:
    """The sweep in a file, or a ConfigError that lists all mistakes."""
    document = yaml_file.read(path, origin=str(path), where=str(path), rank=(FILE, 1))
    tree = document.tree
    if tree is None:
        if not document.issues:
            document.complain("the file is empty", None, "`space:` is needed")
        raise ConfigError(document.issues)
    for key in tree.keys() - set(KEYS):
        help = did_you_mean(key, KEYS, f"the keys are {', '.join(KEYS)}")
        complain(document, f"unknown key `{key}`", (key,), help, mark_key=True)
    space, places = SpaceReader(document).space(tree)
    sweep = SweepFile(
        path=path,
        base=_base(document, tree.get("base"), path.parent),
        config=_config(document, tree.get("config")),
        space=space,
        places=places,
        sampler=_one_of(document, tree, "sampler", SAMPLERS, "tpe"),
        pruner=_one_of(document, tree, "pruner", PRUNERS, "none"),
        trials=_positive(document, tree, "trials", whole=True),
        hours=_positive(document, tree, "hours", whole=False),
        slurm=_slurm(document, tree.get("slurm")),
        document=document,
    )
    if document.issues:
        raise ConfigError(document.issues)
    if sweep.sampler != "grid" and sweep.trials is None and sweep.hours is None:
        sweep.fail(
            f"the sampler {sweep.sampler} needs a budget",
            ("sampler",),
            "add `trials: 50`, or `hours: 8`",
        )
    return sweep


def _down(tree: Any, path: KeyPath, last: str) -> Any:
    """The node at a path, or its value of `last`; a single value as a list."""
    for part in path:
        tree = tree[part]
    tree = tree[last] if isinstance(tree, Mapping) else tree
    return tree if isinstance(tree, Mapping | list) else [tree]


def _part(document: Document, path: KeyPath, value: Any) -> Document:
    """The document of one value of a file, with its positions."""
    values = {
        at[len(path) :]: mark
        for at, mark in document.values.items()
        if at[: len(path)] == path
    }
    keys: dict[KeyPath, Mark] = {(): document.keys[path]}
    return dataclasses.replace(
        document, tree=value, keys=keys, values=values, issues=[]
    )


def _base(document: Document, name: Any, folder: Path) -> Path | None:
    """The file or preset of `base`."""
    if name is None:
        return None
    file = folder / str(name)
    if file.is_file():
        return file
    if not isinstance(name, str) or presets.named(name) is None:
        known = [presets.name_of(path) for path in presets.available()]
        help = "`base: ppo2/CartPole-v1` names a preset; files are looked up next to "
        help = did_you_mean(str(name), known, help + "the sweep file")
        complain(document, f"there is no preset or file `{name}`", ("base",), help)
    return Path(str(name))


def _config(document: Document, tree: Any) -> tuple[Assignment, ...]:
    """The keys of `config`, nested in sections or dotted."""
    if tree is None:
        return ()
    if not isinstance(tree, Mapping):
        help = "write keys of a run, as in `pgcli config show`"
        complain(document, "`config` must be a mapping", ("config",), help)
        return ()
    found: list[Assignment] = []
    for key, value in tree.items():
        nested = isinstance(value, Mapping) and key in sections()
        for inner in value if nested else [None]:
            below = () if inner is None else (inner,)
            part = value if inner is None else value[inner]
            at = _part(document, ("config", key, *below), part)
            found.append(Assignment((*key.split("."), *below), part, at))
    return tuple(found)


def _slurm(document: Document, tree: Any) -> dict[str, str]:
    """Options of `sbatch`: `partition: gpu`, `time: "4:00:00"`."""
    if not isinstance(tree, Mapping | None):
        help = "for example `slurm: {partition: gpu, cpus-per-task: 4}`"
        complain(document, "`slurm` must be a mapping", ("slurm",), help)
        return {}
    for name, value in (tree or {}).items():
        if not re.fullmatch("[a-z][a-z-]*", name) or not isinstance(value, str | int):
            message = f"`slurm.{name}` must be a long option of sbatch, as text"
            complain(document, message, ("slurm", name), None)
    return {name: " ".join(str(value).split()) for name, value in (tree or {}).items()}


def _one_of(
    document: Document,
    tree: Mapping[str, Any],
    key: str,
    known: tuple[str, ...],
    default: str,
) -> str:
    value = tree.get(key)
    if value is None:
        return default
    if value not in known:
        names = f"one of {', '.join(known)}"
        help = did_you_mean(str(value), known, names)
        message = f"`{key}` must be {names}, not {say(value)}"
        complain(document, message, (key,), help if help != names else None)
    return str(value)


def _positive(
    document: Document, tree: Mapping[str, Any], key: str, *, whole: bool
) -> Any:
    value = tree.get(key)
    if value is None:
        return None
    kinds = int if whole else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or not value > 0:
        noun = "a whole number of at least 1" if whole else "a positive number"
        complain(document, f"`{key}` must be {noun}, not {say(value)}", (key,), None)
    return value


def check_grid(sweep: SweepFile) -> None:
    """Raises a ConfigError if a range has no grid points."""
    for dimension in walk(sweep.space):
        if dimension.kind in ("uniform", "log_uniform") and dimension.points is None:
            low, high = dimension.values
            sweep.fail(
                f"the sampler grid needs the number of points of `{dimension.key}`",
                sweep.places[dimension.name],
                f"{{{dimension.kind}: [{low:g}, {high:g}], points: 5}}",
            )
