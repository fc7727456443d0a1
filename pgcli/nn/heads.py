"""Policy heads: from the features of a network to a distribution of actions."""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from pgcli.arrays.shapes import Array
from pgcli.config.schema import NetworkConfig
from pgcli.envs.actions import own_dtypes
from pgcli.envs.base import Box, Discrete, EnvSpec, MultiBinary, MultiDiscrete, Space
from pgcli.errors import EnvironmentFailed
from pgcli.nn.distributions import (
    Bernoulli,
    Categorical,
    DiagGaussian,
    Distribution,
    MultiCategorical,
)
from pgcli.nn.joint import Joint
from pgcli.nn.layers import dense


def identity(action: Any) -> Any:
    """The action itself."""
    return action


class Head(NamedTuple):
    """The linear layer of a policy, and the distribution that it parameterises."""

    num_outputs: int
    make_dist: Callable[..., Distribution]
    """(outputs [*batch, num_outputs], log_std [num_log_std]) -> π(·|s)."""
    num_log_std: int = 0
    """Number of parameters `log_std`, which do not depend on the observation."""
    log_std_init: float = 0.0
    squash: Callable[[Any], Any] = identity
    """See `Policy.squash`."""

    def __call__(self, module: nn.Module, features: Array) -> Distribution:
        """π(·|s) for features [*batch, n].

        Must be called in the compact method of `module`: the parameters become that
        module's.
        """
        outputs = dense(self.num_outputs, 0.01, name="policy_head")(features)
        log_std = jnp.zeros(0)
        if self.num_log_std:
            init = nn.initializers.constant(self.log_std_init)
            log_std = module.param("log_std", init, (self.num_log_std,))
        return self.make_dist(outputs, log_std)


def make_head(spec: EnvSpec, config: NetworkConfig) -> Head:
    """The head for the action space of `spec`.

    Raises:
      EnvironmentFailed: no distribution exists for the action space.
    """
    single = isinstance(spec.action, Space)
    parts = {"": spec.action} if isinstance(spec.action, Space) else spec.action
    dtypes = {"": own_dtypes(spec)} if single else own_dtypes(spec)
    for name, part in parts.items():
        _check(part, dtypes[name], spec.id, f" `{name}`" * (not single))
    heads = {name: part_head(part, config) for name, part in sorted(parts.items())}
    return heads[""] if single else _joint(heads, config.log_std_init)


def part_head(space: Space, config: NetworkConfig) -> Head:
    """The head for one plain action space, which `make_head` has checked."""
    match space:
        case Discrete(n):
            return Head(n, lambda logits, _: Categorical(logits))
        case MultiDiscrete(nvec=nvec):
            return Head(sum(nvec), lambda logits, _: MultiCategorical(logits, nvec))
        case MultiBinary(shape):
            return Head(math.prod(shape), lambda logits, _: Bernoulli(logits))
    size = math.prod(space.shape)

    def make_dist(mean: Array, log_std: Array) -> Distribution:
        return DiagGaussian(mean, jnp.broadcast_to(log_std, mean.shape))

    return Head(size, make_dist, size, config.log_std_init)


def _joint(heads: Mapping[str, Head], log_std_init: float) -> Head:
    """One layer for several heads: its outputs are theirs, in order."""
    outputs_of, log_std_of = slices(list(heads.values()))

    def make_dist(outputs: Array, log_std: Array) -> Distribution:
        cut = zip(heads.items(), outputs_of, log_std_of, strict=True)
        return Joint(
            {
                name: head.make_dist(outputs[..., own], log_std[..., std])
                for (name, head), own, std in cut
            }
        )

    def squash(action: Any) -> Any:
        return {name: head.squash(action[name]) for name, head in heads.items()}

    return Head(
        sum(head.num_outputs for head in heads.values()),
        make_dist,
        sum(head.num_log_std for head in heads.values()),
        log_std_init,
        squash,
    )


_SIZES = ("num_outputs", "num_log_std")


def slices(heads: list[Head]) -> tuple[list[slice], list[slice]]:
    """Places of each head's (outputs, parameters `log_std`) in those of all."""

    def places(sizes: list[int]) -> list[slice]:
        ends = itertools.accumulate(sizes)
        return [slice(end - n, end) for n, end in zip(sizes, ends, strict=True)]

    outputs, log_std = ([getattr(h, key) for h in heads] for key in _SIZES)
    return places(outputs), places(log_std)


def _check(part: Space, dtype: str, env: str, name: str) -> None:
    """Raises if there is no distribution for a part of the actions."""
    if not isinstance(part, Box):
        return
    if "float" not in dtype:
        raise EnvironmentFailed(
            f"no action distribution for a Box{name} of {dtype}",
            where=f"environment {env}",
            help="supported: Discrete, MultiDiscrete, MultiBinary, a Box of floats, "
            "and Dict and Tuple of these",
        )
