"""Policy heads: from the features of a network to a distribution of actions."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from pgcli.arrays.shapes import Array
from pgcli.envs.base import Box, Discrete, EnvSpec, MultiBinary, MultiDiscrete
from pgcli.errors import EnvironmentFailed
from pgcli.nn.distributions import (
    Bernoulli,
    Categorical,
    DiagGaussian,
    Distribution,
    MultiCategorical,
)
from pgcli.nn.layers import dense


class Head(NamedTuple):
    """The linear layer of a policy, and the distribution that it parameterises."""

    num_outputs: int
    num_log_std: int
    """Number of parameters `log_std`, which do not depend on the observation."""
    make_dist: Callable[..., Distribution]
    """(outputs [*batch, num_outputs], and log_std of that shape if there is one) ->
    the distribution of actions."""

    def __call__(
        self, module: nn.Module, features: Array, log_std_init: float
    ) -> Distribution:
        """π(·|s) for features [*batch, n].

        Must be called in the compact method of `module`: the parameters become that
        module's.
        """
        outputs = dense(self.num_outputs, 0.01, name="policy_head")(features)
        if not self.num_log_std:
            return self.make_dist(outputs)
        init = nn.initializers.constant(log_std_init)
        log_std = module.param("log_std", init, (self.num_log_std,))
        return self.make_dist(outputs, jnp.broadcast_to(log_std, outputs.shape))


def make_head(spec: EnvSpec) -> Head:
    """The head for the action space of `spec`.

    Raises:
      EnvironmentFailed: no distribution exists for the action space.
    """
    match spec.action:
        case Discrete(n):
            return Head(n, 0, Categorical)
        case MultiDiscrete(nvec=nvec):
            return Head(sum(nvec), 0, partial(MultiCategorical, nvec=nvec))
        case MultiBinary(shape):
            return Head(math.prod(shape), 0, Bernoulli)
        case Box(shape, dtype) if "float" in (spec.action_dtype or dtype):
            size = math.prod(shape)
            return Head(size, size, DiagGaussian)
    raise EnvironmentFailed(
        f"no action distribution for a {type(spec.action).__name__} of "
        f"{spec.action_dtype or spec.action.dtype}",
        where=f"environment {spec.id}",
        help="supported: Discrete, MultiDiscrete, MultiBinary and a Box of floats",
    )
