"""Bounds of continuous actions, compared with what an untrained policy does."""

from collections.abc import Iterator, Mapping

import numpy as np

from pgcli.config.schema import RunConfig
from pgcli.diagnose.random_episodes import Finding
from pgcli.envs.base import Box, EnvSpec

RESCALE = "env.wrappers: [{RescaleAction: {min_action: -1.0, max_action: 1.0}}]"
SQUASH = "network.distribution: squashed_gaussian"


def action_bounds(spec: EnvSpec, config: RunConfig) -> Iterator[Finding]:
    """Warnings for boxes that a standard normal distribution does not fit."""
    if config.network.distribution == "squashed_gaussian":  # fits any bounds
        return
    several = isinstance(spec.action, Mapping)
    # a wrapper rescales a Box, but no part of a Dict, and nothing on the device
    help = SQUASH if several or config.env.on_device else f"{RESCALE}, or {SQUASH}"
    parts = spec.action if isinstance(spec.action, Mapping) else {"": spec.action}
    for name, space in parts.items():
        if isinstance(space, Box):
            yield from _bounds(space, f" `{name}`" * several, help)


def _bounds(space: Box, name: str, help: str) -> Iterator[Finding]:
    low, high = (np.atleast_1d(x) for x in space.bounds())
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        yield Finding(
            "warning", f"the action space{name} has no bounds: actions are not clipped"
        )
        return
    # a standard normal rarely leaves ±5 and rarely stays within ±0.2
    reach = np.maximum(high, -low).max()
    off_centre = ((low >= 0) | (high <= 0)).any()
    if reach > 5 or reach < 0.2 or off_centre:
        yield Finding(
            "warning",
            f"actions{name} range from {low.min():g} to {high.max():g}, but an "
            "untrained policy is a standard normal distribution",
            help,
        )
