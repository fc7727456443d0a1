"""Completion of values in a shell, without importing JAX.

A completer returns the values that begin with what was typed.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import typer

from pgcli.config.algorithms import ALGORITHM_ALIASES, ALGORITHM_CONFIGS
from pgcli.config.fields import all_fields
from pgcli.runs_dir import RUNS_DIR


def choices(*words: str) -> Callable[[str], list[str]]:
    """A completer of some words."""
    return lambda incomplete: _starting(words, incomplete)


complete_algorithm = choices(*ALGORITHM_CONFIGS, *ALGORITHM_ALIASES)


def complete_key(incomplete: str) -> list[str]:
    """Keys of the configuration."""
    return _starting(all_fields(), incomplete)


def complete_set(incomplete: str) -> list[str]:
    """Keys with `=`, and values of a key that has certain words for values."""
    key, equals, _ = incomplete.partition("=")
    if not equals:
        return [f"{path}=" for path in complete_key(incomplete)]
    field = all_fields().get(key)
    words: tuple[str, ...] = ()
    if field is not None:
        words = ("true", "false") if field.kind.base is bool else field.kind.choices
    return _starting((f"{key}={word}" for word in words), incomplete)


def complete_env(incomplete: str) -> list[str]:
    """Ids of environments: of device back ends, and those that Gymnasium registers."""
    import gymnasium

    from pgcli.envs.device_names import DEVICE_NAMES
    from pgcli.envs.full_id import atari_ids

    device = (f"{prefix}:{x}" for prefix, names in DEVICE_NAMES.items() for x in names)
    return _starting((*device, *gymnasium.registry, *atari_ids()), incomplete)


def complete_preset(incomplete: str) -> list[str]:
    """Names of presets; a shell completes files if there is none."""
    from pgcli.config.source import presets

    return _starting(map(presets.name_of, presets.available()), incomplete)


def complete_run(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of runs in `--runs-dir`; a shell completes paths if there is none."""
    runs_dir = Path(ctx.params.get("runs_dir") or RUNS_DIR)
    names = sorted(path.parent.name for path in runs_dir.glob("*/config.yaml"))
    given: Any = ctx.params.get("runs") or ()
    return [name for name in _starting(names, incomplete) if name not in given]


def _starting(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
