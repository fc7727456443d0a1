"""Differences of a configuration from the preset of its environment."""

from pathlib import Path

from pgcli.config.dump import DERIVED, differences
from pgcli.config.load import resolve
from pgcli.config.schema import RunConfig
from pgcli.config.validate import derive


def preset_differences(
    config: RunConfig, preset: str | None
) -> list[tuple[str, str, str]]:
    """(key, value in the preset, value in the configuration), as YAML.

    Keys that follow from others, such as the interval of evaluations from the budget,
    count only if they have another value than the derived one. No `preset` stands for
    the algorithm's defaults.
    """
    base = resolve(
        file=None if preset is None else Path(preset),
        flags={
            "algo.name": (config.algo.name, "--algo"),
            "env.id": (config.env.id, "--env"),
        },
        sets=(),
        use_preset=False,
    )
    free = [
        key
        for key, origin in base.origins.items()
        if origin == DERIVED and not key.startswith("algo.")
    ]
    derived = derive(config.with_values(dict.fromkeys(free)))
    follows = {key for key in free if derived.value(key) == config.value(key)}
    return [row for row in differences(base.config, config) if row[0] not in follows]
