"""The parts of an observation that networks get, and which of them are images."""

from typing import Any, TypeGuard

from pgcli.envs.base import Box, ObsSpace, Space

PIXELS_FROM = 36
"""Shorter side from which an image of bytes is a picture, not a grid of codes."""


def encoded_parts(space: ObsSpace) -> dict[str, Space]:
    """The parts that networks get, in the order of their features; `` if undivided."""
    if isinstance(space, Space):
        return {"": space}
    return {name: space[name] for name in sorted(space)}


def is_image(space: Any) -> TypeGuard[Box]:
    """Whether a part of an observation has the three axes of an image."""
    return isinstance(space, Box) and len(space.shape) == 3


def image_layout(
    space: Box, channels: str = "auto"
) -> tuple[tuple[int, int, int], bool]:
    """((height, width, channels), whether the channels are the first axis)."""
    shape = space.shape
    first = channels == "first"
    if channels == "auto":
        first = shape[0] < min(shape[1:])
    height, width, depth = (*shape[1:], shape[0]) if first else shape
    return (height, width, depth), first


def image_size(part: Space) -> int:
    """Shorter side of an image in pixels; 0 for any other part."""
    return min(image_layout(part)[0][:2]) if is_image(part) else 0
