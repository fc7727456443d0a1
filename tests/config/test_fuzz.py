"""Every key, generated from the schema itself, with values that it must refuse."""

import dataclasses
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen

from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.load import ConfigError, from_mapping, resolve
from pgcli.config.schema import RunConfig

BY_TYPE = {
    bool: ["0", "1", "yes", "'true'", "1.0", "[true]", "{a: true}", ".nan"],
    int: ["true", "'1'", "1.5", "1.0", "1e3", "word", "[1]", "{a: 1}", ".nan", ".inf"],
    float: ["true", "'1.0'", "word", "nan", "[1.0]", "{a: 1}", ".nan", ".inf", "-.inf"],
    str: ["true", "1", "1.5", "[a]", "{a: b}", ".nan"],
    tuple: ["1", "true", "word", "{a: 1}", ".nan"],
    Any: ["1", "true", "[a]", "{a: 1}", "{a: {}, b: {}}", "null"],  # env.wrappers
    dict: ["1", "true", "word", "[1]", ".nan"],
}


def take_apart(annotation: Any) -> tuple[Any, list[Any], bool]:
    """Base type, bounds and whether null is allowed."""
    bounds: list[Any] = []
    optional = False
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            bounds += more
        elif get_origin(annotation) in (types.UnionType, Union):
            optional = optional or type(None) in get_args(annotation)
            kinds = set(get_args(annotation)) - {type(None)}
            if len(kinds) > 1:  # the words that are allowed besides a type
                kinds = {kind for kind in kinds if get_origin(kind) is not Literal}
            (annotation,) = kinds
        else:
            return annotation, bounds, optional


def outside(bounds: list[Any]) -> list[str]:
    bad = []
    for bound in bounds:
        match bound:
            case Ge(value):
                bad += [str(value - 1), "-1000000"]
            case Gt(value):
                bad += [str(value), str(value - 1)]
            case Le(value):
                bad += [str(value + 1), "1e30"]
            case Lt(value):
                bad += [str(value), str(value + 1)]
            case MaxLen(value):
                bad += [str([1] * (value + 1))]
            case MinLen():
                bad += ["''"]
    return bad


def wrong(annotation: Any) -> list[str]:
    base, bounds, optional = take_apart(annotation)
    null = [] if optional else ["null"]
    if get_origin(base) is Literal:
        words = [f"{get_args(base)[0]}x", "''"]
        return [*words, *BY_TYPE[str], *null]
    if get_origin(base) is tuple:
        item = wrong(get_args(base)[0])
        return [*BY_TYPE[tuple], *null, *(f"[{value}]" for value in item)]
    if get_origin(base) is not None:
        return [*BY_TYPE[dict], *null]
    return [*BY_TYPE[base], *outside(bounds), *null]


def keys() -> Iterator[tuple[str, str, Any]]:
    hints = get_type_hints(RunConfig, include_extras=True)
    for name, hint in hints.items():
        if name == "algo":
            for algo, cls in ALGORITHM_CONFIGS.items():
                inner = get_type_hints(cls, include_extras=True)
                for field in dataclasses.fields(cls):
                    if field.name != "name":
                        yield algo, f"algo.{field.name}", inner[field.name]
        elif dataclasses.is_dataclass(hint):
            for key, inner_hint in get_type_hints(hint, include_extras=True).items():
                algo = "reinforce" if key == "episodes_per_env" else "ppo2"
                yield algo, f"{name}.{key}", inner_hint
        else:
            yield "ppo2", name, hint


KEYS = list(keys())
BAD = [(algo, path, text) for algo, path, hint in KEYS for text in wrong(hint)]


def refusals(
    algo: str, path: str, text: str, file: Path
) -> list[tuple[str, str | None]]:
    """What is said about one bad value in a file, in a flag and in a stored tree."""
    section, _, key = path.rpartition(".")
    name = f"  name: {algo}\n" if section == "algo" else ""
    indent = "  " if section else ""
    chosen = "" if section == "algo" else f"algo: {{name: {algo}}}\n"
    file.write_text(f"{section or '#'}:\n{name}{indent}{key}: {text}\n{chosen}")
    line = 3 if name else 2
    found = []
    sets = [f"algo.name={algo}", f"{path}={text}"]
    for source, assigned in ((file, []), (None, sets)):
        with pytest.raises(ConfigError) as caught:
            resolve(file=source, flags={}, sets=assigned, use_preset=False)
        assert len(caught.value.issues) == 1, caught.value.render()
        caught.value.render().encode()
        found.append((caught.value.message, caught.value.where))
    assert found[0][0] == found[1][0]
    assert found[0][1] == f"{file}:{line}"
    assert found[1][1] == f"--set {path}={text}"
    return found


def test_schema_walk_reaches_every_key() -> None:
    config = RunConfig()
    paths = {path for _, path, _ in KEYS}
    for name, value in dataclasses.asdict(config).items():
        if not isinstance(value, dict):
            assert name in paths
        elif name != "algo":
            assert {f"{name}.{key}" for key in value} <= paths
    assert len(BAD) > 400


@pytest.mark.parametrize("path", sorted({(algo, path) for algo, path, _ in KEYS}))
def test_bad_values_of_every_key_are_refused_by_file_and_line(
    path: tuple[str, str], tmp_path: Path
) -> None:
    cases = [text for algo, key, text in BAD if (algo, key) == path]
    assert cases
    for text in cases:
        ((message, _), _) = refusals(*path, text, tmp_path / "my.yaml")
        assert message.startswith(f"`{path[1]}"), (text, message)
        assert " must be " in message


@pytest.mark.parametrize(("algo", "path", "hint"), KEYS)
def test_values_on_a_bound_and_just_inside_are_accepted(
    algo: str, path: str, hint: Any
) -> None:
    base, bounds, optional = take_apart(hint)
    good: list[Any] = [None] if optional else []
    for bound in bounds:
        match bound:
            case Ge(value) | Le(value):
                good += [base(value)] + ([value] if base is float else [])
            case Gt(value):
                good += [1e-30 if base is float else value + 1]
            case MaxLen():
                good += [()]
            case Lt(value):
                good += [0.999999 if base is float else value - 1]
    if get_origin(base) is Literal:
        good += get_args(base)
    section, _, key = path.rpartition(".")
    for value in good:
        # One environment and one minibatch, so that every batch divides.
        tree: dict[str, Any] = {"algo": {"name": algo}, "env": {"num_envs": 1}}
        if algo == "ppo2":
            tree["algo"]["num_minibatches"] = 1
        if ALGORITHM_CONFIGS[algo].collects == "episodes":
            tree["env"]["num_envs"] = 2  # a baseline needs another trajectory
        if value is not None and key in ("kl_min", "kl_max"):
            tree["algo"] |= {"kl_min": 1e-31, "kl_max": 1e6}  # both or neither
        (tree.setdefault(section, {}) if section else tree)[key] = value
        config: Any = from_mapping(tree)
        for part in path.split("."):
            config = getattr(config, part)
        assert value is None or config == value
        assert base is not float or value is None or type(config) is float


def test_every_key_is_refused_with_a_letter_too_many() -> None:
    for algo, path, _ in KEYS:
        sets = [f"algo.name={algo}", f"{path}x=1"]
        with pytest.raises(ConfigError) as caught:
            resolve(file=None, flags={}, sets=sets, use_preset=False)
        assert caught.value.message == f"unknown key `{path}x`"
        assert f"`{path}`" in str(caught.value.help)
