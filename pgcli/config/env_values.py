"""Other values of the environment's keys, for evaluating what was trained already."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from pgcli.config.dump import to_mapping
from pgcli.config.errors import ConfigError, Issue
from pgcli.config.merge import Merged
from pgcli.config.schema import EnvConfig, RunConfig
from pgcli.config.source.command_line import from_env_kwargs, from_sets
from pgcli.config.source.document import Document
from pgcli.config.source.files import FILE
from pgcli.config.validate import validate

KEYS = ("id", "kwargs", "max_episode_steps", "wrappers")
"""Keys of `env` that determine an evaluation; the number of environments does not."""


def with_values(
    env: EnvConfig, sets: Sequence[str], env_kwargs: Sequence[str]
) -> EnvConfig:
    """The environment with other values, as texts of `--set` and `--env-kwargs`.

    Raises a ConfigError with all mistakes.
    """
    issues: list[Issue] = []
    assignments = [*from_env_kwargs(env_kwargs, issues), *from_sets(sets, issues)]
    for assignment in assignments:
        name, place = ".".join(map(str, assignment.path)), assignment.place()
        section, *key = assignment.path[:2]
        if section != "env" or not key or key[0] not in KEYS[1:]:
            keys = ", ".join(f"`env.{key}`" for key in KEYS[1:])
            help = "--env ID" if name == "env.id" else f"these do: {keys}"
            message = f"`{name}` does not apply to an evaluation"
            issues.append(Issue(message, place, place.key, help))
    if issues:
        raise ConfigError(issues)

    # in a configuration of defaults, since only this section matters
    alone = RunConfig(env=dataclasses.replace(env, num_envs=EnvConfig.num_envs))
    merged = Merged()
    merged.add_document(Document("", "", (), (FILE, 0), tree=to_mapping(alone)))
    for assignment in assignments:
        merged.add_assignment(assignment)
    config, issues = validate(merged.tree, alone.algo.name, merged.places)
    if issues:
        raise ConfigError(issues)
    return config.env


def differences(trained: EnvConfig, evaluated: EnvConfig) -> dict[str, Any]:
    """`{"trained": value, "evaluated": value}` of each key that differs."""
    changes: Mapping[str, tuple[Any, Any]] = {
        f"env.{key}": (getattr(trained, key), getattr(evaluated, key)) for key in KEYS
    }
    return {
        key: {"trained": before, "evaluated": after}
        for key, (before, after) in changes.items()
        if before != after
    }
