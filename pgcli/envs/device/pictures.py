"""Pictures [H, W, 3] of on-device environments, as functions of a state."""

import colorsys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

SIDE = 320
"""Length of the longer side in pixels, about."""


def grid_picture(grid: Any) -> np.ndarray:
    """A grid of cells [H, W] or [H, W, C]; each channel has a colour.

    The colour of a cell is that of its last channel that is not 0, scaled by the
    channel's largest value if that is above 1.
    """
    cells = np.asarray(grid, np.float32)
    cells = cells.reshape(*cells.shape[:2], -1)
    count = cells.shape[-1]
    picture = np.zeros((*cells.shape[:2], 3), np.float32)
    for channel in range(count):
        value = cells[..., channel, None] / max(1.0, float(cells[..., channel].max()))
        colour = colorsys.hsv_to_rgb(channel / count, 0.6 if count > 1 else 0.0, 1.0)
        picture = np.where(value > 0, value * np.asarray(colour), picture)
    pixels = (255 * picture.clip(0, 1)).astype(np.uint8)
    times = max(1, SIDE // max(pixels.shape[:2]))
    return pixels.repeat(times, 0).repeat(times, 1)


def twin_pictures(id: str, fields: Sequence[str]) -> Callable[[Any], np.ndarray]:
    """Pictures by the environment of Gymnasium's classic control with the same states.

    `fields` of our state are in the order of its array.
    """
    made: list[Any] = []

    def picture(state: Any) -> np.ndarray:
        if not made:
            import gymnasium

            made.append(gymnasium.make(id, render_mode="rgb_array"))
            made[0].reset()
        made[0].unwrapped.state = np.array([float(getattr(state, x)) for x in fields])
        return np.asarray(made[0].render())

    return picture


def mujoco_pictures(
    model: Any, positions: Callable[[Any], tuple[Any, Any]]
) -> Callable[[Any], np.ndarray]:
    """Pictures of an `MjModel`; `positions` is state -> (qpos, qvel)."""
    made: list[Any] = []

    def picture(state: Any) -> np.ndarray:
        import mujoco

        if not made:
            camera = mujoco.MjvCamera()
            if model.ncam:
                camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, 0
            else:
                mujoco.mjv_defaultFreeCamera(model, camera)
            renderer = mujoco.Renderer(model, height=240, width=SIDE)
            made.extend((renderer, mujoco.MjData(model), camera))
        renderer, data, camera = made
        data.qpos, data.qvel = (np.asarray(each) for each in positions(state))
        mujoco.mj_forward(model, data)
        renderer.update_scene(data, camera)
        return np.array(renderer.render())

    return picture
