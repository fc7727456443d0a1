"""The parts of an observation that networks get, and which of them are images."""

import math
from collections.abc import Collection, Sequence
from typing import Any, TypeGuard

from pgcli.envs.base import ActionMask, Box, ObsSpace, Space
from pgcli.errors import UsageError
from pgcli.suggest import did_you_mean

PIXELS_FROM = 36
"""Shorter side from which an image of bytes is a picture, not a grid of codes."""


def encoded_parts(space: ObsSpace) -> dict[str, Space]:
    """The parts that networks get, in the order of their features; `` if undivided."""
    if isinstance(space, Space):
        return {"": space}
    return {
        name: space[name]
        for name in sorted(space)
        if not isinstance(space[name], ActionMask)
    }


def chosen_parts(names: Collection[str], keys: Sequence[str], env_id: str) -> list[str]:
    """Names of the parts that `env.obs_keys` chooses; a key stands for all its parts.

    Raises a UsageError if there is no such part.
    """
    where = f"environment {env_id}"
    if not names:
        message = "env.obs_keys: the observations are neither a Dict nor a Tuple"
        raise UsageError(message, where=where, help="remove env.obs_keys")
    for key in keys:
        if not any(f"{name}/".startswith(f"{key}/") for name in names):
            raise UsageError(
                f"env.obs_keys: the observations have no part `{key}`",
                where=where,
                help=did_you_mean(key, names, f"there are {', '.join(names)}"),
            )
    return [n for n in names if any(f"{n}/".startswith(f"{key}/") for key in keys)]


def is_image(space: Any) -> TypeGuard[Box]:
    """Whether a part is an image [H, W, C] or [C, H, W].

    Pictures of bytes may also be grey, [H, W], or stacked, [K, H, W, C] or
    [K, C, H, W].
    """
    if not isinstance(space, Box) or len(space.shape) not in (2, 3, 4):
        return False
    if len(space.shape) == 3:
        return True
    return space.dtype == "uint8" and min(image_layout(space)[0][:2]) >= PIXELS_FROM


def image_layout(
    space: Box, channels: str = "auto"
) -> tuple[tuple[int, int, int], bool]:
    """((height, width, channels), whether the channels are the first axis).

    Channels of stacked images are counted together.
    """
    if len(space.shape) == 2:
        return (*space.shape, 1), False
    *stacked, front, middle, back = space.shape
    first = channels == "first"
    if channels == "auto":
        first = front < min(middle, back)
    height, width, depth = (middle, back, front) if first else (front, middle, back)
    return (height, width, math.prod(stacked) * depth), first


def image_size(part: Space) -> int:
    """Shorter side of an image in pixels; 0 for any other part."""
    return min(image_layout(part)[0][:2]) if is_image(part) else 0
