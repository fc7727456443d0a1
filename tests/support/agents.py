"""Spaces of every kind, and agents for them whose weights are small nowhere."""

from typing import Any

import jax
import numpy as np

from pgcli.config.schema import NetworkConfig
from pgcli.envs.base import (
    ActionMask,
    Box,
    Discrete,
    EnvSpec,
    MultiBinary,
    MultiDiscrete,
    component_sizes,
)
from pgcli.nn.normalize import init_obs_stats
from pgcli.nn.policy import Agent, make_policy

FLAT = Box((3,), "float32", -5.0, 5.0)
IMAGE = Box((2, 3), "uint8", 0.0, 255.0)
CHOICES = MultiDiscrete((2, 2), (2, 3, 4, 2), (0, 1, 0, 5))
SPACES: dict[str, Any] = {
    "box": FLAT,
    "image": IMAGE,
    "discrete": Discrete(4, start=2),
    "choices": CHOICES,
    "bits": MultiBinary((2, 2)),
    "dict": {"b": IMAGE, "a": FLAT, "c": Discrete(3), "d": CHOICES},
}
ACTIONS: dict[str, Any] = {
    "discrete": Discrete(5),
    "box": Box((2,), "float32", -1.0, 1.0),
    "choices": CHOICES,
    "bits": MultiBinary((3,)),
    "parts": {
        "go/0": Box((2,), "float32", -1.0, 1.0),
        "gear": Discrete(5),
        "go/1": MultiBinary((3,)),
        "aim": Box((), "float32", 0.0, 3.0),
    },
}
NUM_ENVS = 6


def masked_spec(action: str) -> EnvSpec:
    """A plain observation with the mask of these actions."""
    sizes = component_sizes(ACTIONS[action])
    mask = ActionMask((sum(sizes),), sizes, "info")
    return EnvSpec("toy", {"observation": FLAT, "mask": mask}, ACTIONS[action])


def observations(space: Any) -> Any:
    drawn = np.random.default_rng(0)
    if isinstance(space, Discrete):
        return drawn.integers(space.start, space.start + space.n, NUM_ENVS, np.int32)
    if isinstance(space, MultiDiscrete):
        low = np.array(space.start)
        size = (NUM_ENVS, len(low))
        values = drawn.integers(low, low + space.nvec, size, np.int32)
        return values.reshape(NUM_ENVS, *space.shape)
    if isinstance(space, MultiBinary):
        return drawn.integers(0, 2, (NUM_ENVS, *space.shape), np.int8)
    if isinstance(space, Box):
        values = drawn.uniform(0, 5, (NUM_ENVS, *space.shape))
        return values.astype(space.dtype)
    return {name: observations(part) for name, part in space.items()}


def agent_of(spec: EnvSpec, config: NetworkConfig, normalized: bool) -> Agent:
    """Weights that are not small anywhere, and statistics whose bound is reached."""
    shapes = jax.eval_shape(make_policy(spec, config).init, jax.random.key(0))
    drawn = np.random.default_rng(1)
    params = jax.tree.map(
        lambda leaf: drawn.normal(0, 0.5, leaf.shape).astype(leaf.dtype), shapes
    )
    stats = None
    if normalized:
        stats = jax.device_get(init_obs_stats(spec.obs, 1.5))
        moved = jax.tree.map(lambda x: x + np.float32(0.7), (stats.mean, stats.var))
        stats = stats.replace(mean=moved[0], var=moved[1])
    return Agent(params, stats)
