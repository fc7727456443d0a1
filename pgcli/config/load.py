"""The configuration of a run from files and flags, with the origin of every value.

Order: defaults of the schema < of the algorithm < by spaces, or preset < files < named
flags < `--set`. All mistakes are reported at once, as a `ConfigError`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pgcli.config.algorithms import ALGORITHM_CONFIGS, DEFAULT_ALGORITHM
from pgcli.config.dump import DERIVED, to_mapping, to_yaml
from pgcli.config.errors import ConfigError, Issue, Place
from pgcli.config.fields import (
    CAN_DERIVE,
    MOVED_KEYS,
    fields,
    lookup,
    real_name,
    suggest,
    unused,
)
from pgcli.config.issues import say, section_issue
from pgcli.config.merge import Merged
from pgcli.config.schema import NO_MASK, EnvConfig, RunConfig
from pgcli.config.source import families, presets
from pgcli.config.source.command_line import (
    Assignment,
    from_env_kwargs,
    from_flags,
    from_sets,
)
from pgcli.config.source.document import Document
from pgcli.config.source.files import FILE, read_files, read_preset
from pgcli.config.validate import validate
from pgcli.errors import UsageError

__all__ = [
    "ConfigError",
    "Resolved",
    "from_checkpoint",
    "from_mapping",
    "of_run",
    "resolve",
    "to_mapping",
    "to_yaml",
]


@dataclass(frozen=True)
class Resolved:
    """A configuration with the origin of every value.

    Attributes:
      config: the configuration.
      origins: origin of each key by dotted path: `default`, `default of trpo`,
        `default for images`, `derived`, `preset ppo2/CartPole-v1`, `my.yaml:7`,
        `--seed`, `--set`.
      preset: the preset used, such as `ppo2/CartPole-v1` or that of a family,
        `families/mujoco`, or None.
      spaces: kind of observations that defaults were chosen for, or None.
      note: message about keys that have moved since they were written, or None.
      unused_preset: the preset of the algorithm and the environment if it is not used.
    """

    config: RunConfig
    origins: Mapping[str, str]
    preset: str | None
    spaces: str | None = None
    note: str | None = None
    unused_preset: str | None = None


def resolve(
    *,
    file: Path | Sequence[Path] | None,
    flags: Mapping[str, Any],
    sets: Sequence[str],
    env_kwargs: Sequence[str] = (),
    more: Sequence[Assignment] = (),
    use_preset: bool = True,
    preset_dir: Path | None = None,
    spaces: Callable[[RunConfig], tuple[str | None, Mapping[str, Any]]] | None = None,
    full_id: Callable[[str], tuple[str, str | None]] | None = None,
) -> Resolved:
    """The configuration given by files and flags.

    A preset is chosen by (algorithm, environment) unless a file is given, which
    replaces the preset. The key `base` of a file names a preset to start from.

    Args:
      file: the files of `-c`, of which the later ones override, or one of them; if a
        file does not exist, the name of a preset.
      flags: dotted path -> (value, spelling of the flag); a value of None is ignored.
      sets: the `path=value` texts of `--set`.
      env_kwargs: the texts of `--env-kwargs`: `name=value`, or `{name: value, …}`.
      more: further keys, from a file of another kind; they override all others.
      use_preset: False for `--no-preset`.
      preset_dir: directory of the presets; None means the installed ones.
      spaces: returns the kind of observations of a run without files and preset, and
        defaults for them by dotted path; None for no such defaults.
      full_id: (id, note) of the environment that an id without a preset stands for.

    Raises:
      ConfigError: files or flags are wrong; it lists all mistakes.
    """
    # read the files and the command line
    issues: list[Issue] = []
    files = [file] if isinstance(file, Path) else list(file or ())
    documents = read_files(files, preset_dir, issues)
    assignments = [
        *from_flags(flags, issues),
        *from_env_kwargs(env_kwargs, issues),
        *from_sets(sets, issues),
        *more,
    ]
    if any(document.tree is None and document.issues for document in documents):
        # not YAML at all: further checks would be meaningless
        raise ConfigError(issues)

    # algorithm and environment, which determine defaults and preset
    given = Merged()
    for document in documents:
        given.add_document(document)
    for assignment in assignments:
        given.add_assignment(assignment)
    algo, known = _algorithm(given, issues)
    env = given.tree.get("env")
    env_id = env.get("id", EnvConfig.id) if isinstance(env, Mapping) else EnvConfig.id
    path = renamed = said = None
    if known and isinstance(env_id, str):
        if full_id is not None and not presets.has_own(env_id, preset_dir):
            found, said = full_id(env_id)
            renamed = found if found != env_id else None
            env_id = found
        path = presets.find(algo, env_id, preset_dir)
    if path is not None and use_preset and not files:
        documents = [read_preset(path)]
        issues += documents[0].issues
    documents = [families.fitted(document, algo) for document in documents]

    # merge and validate; then, without any file, with defaults by spaces
    assignments = [x for x in assignments if _allowed(x, algo, known, issues)]
    merged = _merged(algo if known else None, {}, "", documents, assignments, renamed)
    config, kind = _validated(merged, algo, known, issues), None
    if spaces is not None and use_preset and not documents:
        kind, values = spaces(config)
        origin = f"default for {kind}"
        merged = _merged(algo, values, origin, documents, assignments, renamed)
        config = _validated(merged, algo, known, issues)
    notes = [*dict.fromkeys(merged.moved), *([said] if said else [])]
    used = [document.preset for document in documents if document.preset is not None]
    unused = None if path is None else presets.name_of(path)
    return Resolved(
        config,
        _origins(config, merged),
        preset=used[-1] if used else None,
        spaces=kind,
        note="; ".join(notes) or None,
        unused_preset=None if unused in used else unused,
    )


EARLIER: Mapping[str, Any] = {"env.action_mask": NO_MASK}
"""Values of keys that configurations of runs of earlier versions do not have.

They keep what those runs did, if it is not what the default does.
"""


def of_run(path: Path) -> Resolved:
    """The configuration in a run's config.yaml; a ConfigError lists all mistakes."""
    stored = resolve(file=path, flags={}, sets=[])
    missing = {k: x for k, x in EARLIER.items() if stored.origins[k] == "default"}
    return replace(stored, config=stored.config.with_values(missing))


def from_checkpoint(tree: Any, source: str) -> RunConfig:
    """As `from_mapping` for the configuration in a checkpoint, perhaps an older one."""
    config = from_mapping(tree, source=source)
    inner = {key: x for key, x in tree.items() if isinstance(x, Mapping)}
    stored = {f"{section}.{key}" for section, x in inner.items() for key in x}
    missing = {key: x for key, x in EARLIER.items() if key not in stored}
    return config.with_values(missing)


def from_mapping(tree: Any, *, source: str = "configuration") -> RunConfig:
    """The configuration in a plain tree, such as a stored one; `source` is for errors.

    The inverse of `to_mapping`; missing keys get their defaults. Raises a ConfigError
    with all mistakes.
    """
    place = Place(source, source, (FILE, 0))
    if not isinstance(tree, Mapping):
        raise ConfigError([Issue(f"expected a mapping, not {say(tree)}", place)])
    try:
        # a copy by way of JSON: independent of the caller's, with texts as keys
        tree = json.loads(json.dumps(tree, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError([Issue(f"not plain data: {error}", place)]) from error
    issues: list[Issue] = []
    document = Document(source, source, (), (FILE, 0), tree=tree)
    given = Merged()
    given.add_document(document)
    algo, known = _algorithm(given, issues)
    merged = Merged()
    if known:
        merged.add_defaults(algo)
    merged.add_document(document)
    return _validated(merged, algo, known, issues)


def _merged(
    algo: str | None,
    defaults: Mapping[str, Any],
    origin: str,
    documents: Sequence[Document],
    assignments: Sequence[Assignment],
    env_id: str | None,
) -> Merged:
    """An algorithm's defaults, more defaults, the files, then the command line.

    `env_id` replaces the id of the environment unless it is None.
    """
    merged = Merged()
    if algo is not None:
        merged.add_defaults(algo)
    merged.add_values(defaults, origin)
    for document in documents:
        merged.add_document(document)
    for assignment in assignments:
        merged.add_assignment(assignment)
    if env_id is not None:
        merged.tree["env"]["id"] = env_id
    return merged


def _validated(
    merged: Merged, algo: str, known: bool, issues: list[Issue]
) -> RunConfig:
    """The configuration in a tree; raises all mistakes, including earlier `issues`."""
    config, more = validate(merged.tree, algo, merged.places, check_algo=known)
    if issues or more:
        raise ConfigError([*issues, *more])
    return config


def _algorithm(given: Merged, issues: list[Issue]) -> tuple[str, bool]:
    """(algorithm, whether it exists); if it does not, that is noted as an issue."""
    section = given.tree.get("algo")
    if not isinstance(section, Mapping) or "name" not in section:
        return DEFAULT_ALGORITHM.name, True
    value, place = section["name"], given.places["algo", "name"]
    try:
        if isinstance(value, str):
            return real_name(value), True
        choices = ", ".join(ALGORITHM_CONFIGS)
        raise UsageError(f"`algo.name` must be one of {choices}, not {say(value)}")
    except UsageError as error:
        mark = place.value or place.key
        issues.append(Issue(error.message, place, mark, error.help))
    return DEFAULT_ALGORITHM.name, False


def _allowed(
    assignment: Assignment, algo: str, known: bool, issues: list[Issue]
) -> bool:
    """Whether the schema has the key of a flag; if not, that is noted as an issue."""
    name = ".".join(map(str, assignment.path))
    name = MOVED_KEYS.get(name, name)
    what = lookup(name, algo)
    if what == "section" and not isinstance(assignment.value, Mapping):
        place = assignment.place()
        issues.append(section_issue(name, assignment.value, place, algo))
        return False
    if what != "unknown":
        return True
    if known or (assignment.path[0] != "algo" and name not in unused(algo)):
        place = assignment.place()
        help = suggest(name, algo)
        issues.append(Issue(f"unknown key `{name}`", place, place.key, help))
    return False


def _origins(config: RunConfig, merged: Merged) -> dict[str, str]:
    """Origin of every key, in the order of the schema."""
    origins = {}
    for name in fields(config.algo.name):
        path = tuple(name.split("."))
        section = merged.tree.get(path[0])
        places = [p for key, p in merged.places.items() if key[: len(path)] == path]
        last = max(places, key=lambda place: place.rank[:2], default=None)
        origins[name] = "default" if last is None else last.origin
        if name in CAN_DERIVE and (section is None or section.get(path[1]) is None):
            derived = config.value(name) is not None
            origins[name] = DERIVED if derived else origins[name]
    return origins
