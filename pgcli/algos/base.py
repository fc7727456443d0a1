"""What every algorithm is: two pure functions, and the state they hand on."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import jax
import numpy as np
from flax import struct

from pgcli.arrays.shapes import Array
from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.schema import NormalizeConfig, OptimizerConfig
from pgcli.nn.policy import Agent
from pgcli.rollout.types import Rollout

Metrics = dict[str, Array]


class Hyperparameters(NamedTuple):
    """What an update is told: floats are traced leaves, all else is structure."""

    algo: Any
    optimizer: OptimizerConfig


class LearnerState(struct.PyTreeNode):
    """All that learning needs: the agent, the optimiser, the algorithm's memory."""

    agent: Agent
    opt_state: Any
    memory: Any


class Algorithm(NamedTuple):
    """An algorithm, bound to a policy.

    Attributes:
      init: (hyper, agent) -> LearnerState.
      update: (hyper, learner, rollout, progress, key) -> (learner, metrics). Progress
        is the share of the budget used when the iteration began, in [0, 1]. Consumes
        the key.
      collects: whether it learns from fixed numbers of steps or whole episodes.
    """

    init: Callable[[Hyperparameters, Agent], LearnerState]
    update: Callable[
        [Hyperparameters, LearnerState, Rollout, Array, Array],
        tuple[LearnerState, Metrics],
    ]
    collects: Literal["steps", "episodes"]


def _is_float(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation is float or float in get_args(annotation)


def float_fields(cls: type) -> list[str]:
    """Names of the fields that are traced leaves: those typed float, or float | None.

    None is an empty subtree, so switching such a feature on is structure.
    """
    return [field.name for field in dataclasses.fields(cls) if _is_float(field.type)]


def _register(cls: type) -> None:
    leaves = float_fields(cls)
    structure = [f.name for f in dataclasses.fields(cls) if f.name not in leaves]
    jax.tree_util.register_dataclass(cls, leaves, structure)


for _cls in (*ALGORITHM_CONFIGS.values(), OptimizerConfig, NormalizeConfig):
    _register(_cls)


def as_leaves(config: Any) -> Any:
    """The configuration with float32 leaves, `1` included: one dtype, one program."""
    return jax.tree.map(np.float32, config)
