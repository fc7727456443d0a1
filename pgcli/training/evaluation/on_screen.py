"""Environments that are shown in a window while they are stepped."""

import dataclasses
import os
from typing import Any

from pgcli.config.schema import EnvConfig
from pgcli.envs.registry import check, needed_extra, registered_name
from pgcli.errors import UsageError

FILE = "`pgcli video` writes a file, without a display"


def twin(config: EnvConfig) -> EnvConfig:
    """The environment, or that of the host with the same states as a `func:` one.

    Raises a UsageError if its back end shows nothing.
    """
    if config.backend == "func":
        config = dataclasses.replace(config, id=config.id.partition(":")[2])
    if config.on_device or config.backend == "envpool":
        raise UsageError(
            f"`{config.id}` cannot be shown: its back end has no windows here",
            help="environments of Gymnasium and func: ones can be",
        )
    check(config)
    return config


def shown(config: EnvConfig) -> EnvConfig:
    """The environment with `render_mode: human`; a UsageError if it cannot be shown."""
    import gymnasium
    from gymnasium.envs.registration import load_env_creator

    entry_point: Any = gymnasium.spec(registered_name(config)).entry_point
    extra, installed = needed_extra(entry_point)
    # MuJoCo would abort the process without a display, others show nothing
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not display and (extra == "mujoco" or not os.environ.get("SDL_VIDEODRIVER")):
        raise UsageError("a window needs a display, and there is none", help=FILE)
    if installed:
        named = isinstance(entry_point, str)
        creator = load_env_creator(entry_point) if named else entry_point
        modes = getattr(creator, "metadata", {}).get("render_modes", ["human"])
        if not {"human", "rgb_array"} & {*modes}:
            raise UsageError(f"`{config.id}` cannot be shown: it does not render")
    kwargs = {**config.kwargs, "render_mode": "human"}
    return dataclasses.replace(config, kwargs=kwargs)
