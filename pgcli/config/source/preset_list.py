"""Presets as rows of a list, and as text of a file."""

import re
from pathlib import Path
from typing import NamedTuple

from pgcli.config.algorithms import ALGORITHM_CONFIGS, DEFAULT_ALGORITHM
from pgcli.config.dump import flow
from pgcli.config.errors import printable
from pgcli.config.fields import real_name
from pgcli.config.source import families, presets
from pgcli.config.source.files import read_preset
from pgcli.errors import UsageError
from pgcli.suggest import similar

_RETURN = re.compile(
    r"^# Return: (?P<mean>\S+) \[(?P<low>\S+), (?P<high>\S+)\], (?P<seeds>\d+) seeds",
    re.MULTILINE,
)
_BLOCKS = re.compile(r"^(?=[a-z])", re.MULTILINE)


class PresetRow(NamedTuple):
    """One preset, with its measured return if there is one.

    Attributes:
      name: such as `ppo2/CartPole-v1`.
      env: id of its environment; None for a family or a style.
      family: title of the family that it is the preset of, or of its environment's.
      steps: budget; None if it leaves that to the defaults.
      return_mean: return of the final evaluation, over seeds.
      return_ci: its 95 % interval.
    """

    name: str
    algo: str
    env: str | None
    family: str | None
    steps: int | None
    return_mean: float | None = None
    return_ci: tuple[float, float] | None = None
    seeds: int | None = None


def rows(filter: str = "") -> list[PresetRow]:
    """The presets whose algorithm, name, environment or family contains `filter`."""
    listed = [_row(path) for path in presets.available()]
    return [
        row
        for row in listed
        if filter.lower() in f"{row.algo} {row.name} {row.env} {row.family}".lower()
    ]


def _row(path: Path) -> PresetRow:
    name, document = presets.name_of(path), read_preset(path)
    tree = document.tree or {}
    env_id = (tree.get("env") or {}).get("id")
    row = PresetRow(
        name,
        tree["algo"]["name"],
        env_id,
        families.title(name) or families.title_of(env_id),
        tree.get("steps"),
    )
    measured = _RETURN.search("\n".join(document.lines))
    if measured is None:
        return row
    mean, low, high = (float(measured[key]) for key in ("mean", "low", "high"))
    return row._replace(
        return_mean=mean, return_ci=(low, high), seeds=int(measured["seeds"])
    )


class PresetText(NamedTuple):
    """A preset as a file: its name, and YAML that `-c` accepts."""

    name: str
    text: str


def text_of(name: str) -> PresetText:
    """The preset with this name, or the one that `train` would use for ALGO/ENV.

    For an environment without a preset of its own it is that of its family, with the
    environment's id. Raises a UsageError if there is none.
    """
    path = presets.named(name)
    folder, _, env_id = name.partition("/")
    if path is not None:
        return PresetText(presets.name_of(path), path.read_text(encoding="utf-8"))
    try:
        algo = real_name(folder)
    except UsageError:
        algo = ""
    path = presets.find(algo, env_id) if algo and env_id else None
    if path is None:
        known = [presets.name_of(each) for each in presets.available()]
        close = similar(name, known, cutoff=0.85)
        if presets.find(DEFAULT_ALGORITHM.name, name) is not None:  # no algorithm
            close = [f"{DEFAULT_ALGORITHM.name}/{name}"]
        help = f"did you mean `{close[0]}`?" if close else "`pgcli presets` lists them"
        raise UsageError(f"there is no preset `{printable(name)}`", help=help)
    text = path.read_text(encoding="utf-8")
    if path.parent.name == families.FOLDER:
        text = _for_environment(text, algo, env_id)
    return PresetText(presets.name_of(path), text)


def _for_environment(text: str, algo: str, env_id: str) -> str:
    """A family's preset for one of its environments, and for any algorithm."""
    head, *blocks = _BLOCKS.split(text)
    if f"  name: {algo}\n" not in blocks[0]:  # as `families.fitted`
        kept = tuple(f"{key}:" for key in families.OF_ENVIRONMENT)
        blocks = [block for block in blocks if block.startswith(kept)]
        if ALGORITHM_CONFIGS[algo].separate_policy_step:
            blocks = [re.sub(r"  shared:.*\n", "", block) for block in blocks]
        blocks.insert(0, f"algo:\n  name: {algo}\n")
    body = "".join(blocks)
    return head + body.replace("\nenv:\n", f"\nenv:\n  id: {flow(env_id)}\n", 1)
