"""An algorithm: two pure functions, and the state that passes between them."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import jax
import numpy as np
from flax import struct

from pgcli.arrays.shapes import Array
from pgcli.config.algorithms import ALGORITHM_CONFIGS, Collects
from pgcli.config.schema import NormalizeConfig, OptimizerConfig
from pgcli.nn.policy import Agent
from pgcli.rollout.types import Rollout, RolloutShape

Metrics = dict[str, Array]


class Hyperparameters(struct.PyTreeNode):
    """Arguments of an update. Floats are traced leaves; everything else is static."""

    algo: Any
    optimizer: OptimizerConfig
    shards: int = struct.field(default=1, pytree_node=False)  # rows S of a batch


class LearnerState(struct.PyTreeNode):
    """All that learning needs: the agent, the optimiser, the algorithm's memory."""

    agent: Agent
    opt_state: Any
    memory: Any


class Algorithm(NamedTuple):
    """An algorithm, bound to a policy.

    Attributes:
      init: (hyper, agent, shape of the rollouts) -> LearnerState.
      update: (hyper, learner, rollout, progress, key) -> (learner, metrics). Progress
        is the share of the budget used when the iteration began, in [0, 1]. Consumes
        the key.
      collects: whether it learns from fixed numbers of steps or whole episodes.
    """

    init: Callable[[Hyperparameters, Agent, RolloutShape], LearnerState]
    update: Callable[
        [Hyperparameters, LearnerState, Rollout, Array, Array],
        tuple[LearnerState, Metrics],
    ]
    collects: Collects


def _is_float(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation is float or float in get_args(annotation)


def float_fields(cls: type) -> list[str]:
    """Names of the fields that are traced leaves: those typed float, or float | None.

    None is an empty subtree, so switching such a feature on changes the structure.
    """
    return [field.name for field in dataclasses.fields(cls) if _is_float(field.type)]


def _register(cls: type) -> None:
    leaves = float_fields(cls)
    static = [f.name for f in dataclasses.fields(cls) if f.name not in leaves]
    jax.tree_util.register_dataclass(cls, leaves, static)


for _cls in (*ALGORITHM_CONFIGS.values(), OptimizerConfig, NormalizeConfig):
    _register(_cls)


def as_leaves(config: Any) -> Any:
    """The configuration with float32 leaves, `1` included: one dtype, one program."""
    return jax.tree.map(np.float32, config)
