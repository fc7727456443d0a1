"""Comparison of an environment's spaces with those of an agent."""

from typing import Any

from pgcli.envs.base import (
    ActionMask,
    Box,
    Discrete,
    EnvSpec,
    MultiBinary,
    MultiDiscrete,
    ObsSpace,
    Space,
)
from pgcli.errors import CheckpointError
from pgcli.training.evaluation.saved_agents import Trained


def _shapes(space: ObsSpace) -> Any:
    """Shapes and dtypes of a space, which determine the network; bounds do not."""
    if isinstance(space, Discrete):
        return space.n
    if isinstance(space, MultiDiscrete):
        return (space.shape, space.nvec)
    if isinstance(space, Space):
        return (space.shape, space.dtype)
    return {name: _shapes(part) for name, part in space.items()}


def check_fit(trained: Trained, spec: EnvSpec) -> None:
    """Raises a CheckpointError if an environment has other spaces than the training."""
    for what, ours, theirs in (
        ("observations", trained.spec.obs, spec.obs),
        ("actions", trained.spec.action, spec.action),
    ):
        if _shapes(ours) != _shapes(theirs):
            raise CheckpointError(
                f"{what} of {spec.id} are {describe(theirs)}, "
                f"the agent was trained on {describe(ours)}",
                where=str(trained.path),
            )


def describe(space: ObsSpace) -> str:
    """A space as text."""
    if isinstance(space, Box):
        return f"{space.dtype}{list(space.shape)}"
    if isinstance(space, Discrete):
        return f"Discrete({space.n})"
    if isinstance(space, MultiDiscrete):
        return f"MultiDiscrete({list(space.nvec)})"
    if isinstance(space, ActionMask):
        return f"ActionMask({list(space.shape)})"
    if isinstance(space, MultiBinary):
        return f"MultiBinary({list(space.shape)})"
    parts = (f"{name}: {describe(part)}" for name, part in sorted(space.items()))
    return "{" + ", ".join(parts) + "}"
