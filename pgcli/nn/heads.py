"""Policy heads: from the features of a network to a distribution of actions."""

import itertools
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from pgcli.arrays.shapes import Array
from pgcli.config.schema import NetworkConfig
from pgcli.envs.actions import own_dtypes
from pgcli.envs.base import Box, Discrete, EnvSpec, MultiBinary, MultiDiscrete, Space
from pgcli.errors import EnvironmentFailed, UsageError
from pgcli.nn.distributions import (
    Bernoulli,
    Categorical,
    DiagGaussian,
    Distribution,
    MultiCategorical,
)
from pgcli.nn.joint import Joint
from pgcli.nn.layers import dense
from pgcli.nn.squashed_gaussian import SquashedGaussian

LOG_STD_RANGE = (-20.0, 2.0)
"""Limits of a log standard deviation that the network computes, as in the code of SAC
(Haarnoja et al., 2018, arXiv 1812.05905)."""


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
      UsageError: the configured distribution does not fit it.
    """
    single = isinstance(spec.action, Space)
    parts = {"": spec.action} if isinstance(spec.action, Space) else spec.action
    dtypes = {"": own_dtypes(spec)} if single else own_dtypes(spec)
    for name, part in parts.items():
        _check(part, dtypes[name], config, spec.id, f" `{name}`" * (not single))
    changed = [
        f"network.{key}: {value}"
        for key, default in (("distribution", "gaussian"), ("log_std", "free"))
        if (value := getattr(config, key)) != default
    ]
    if changed and not any(isinstance(part, Box) for part in parts.values()):
        raise UsageError(
            f"{' and '.join(changed)}: the actions of {spec.id} are not continuous",
            help="leave it out: it is for a Box of floats",
        )
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
    size, state = math.prod(space.shape), config.log_std == "state"
    make: Any = DiagGaussian
    squash: Callable[[Any], Any] = identity
    if config.distribution == "squashed_gaussian":
        centre, half = _middle(space)
        make = partial(SquashedGaussian, log_scale=float(np.log(half).sum()))
        squash = partial(_squash, centre.astype(np.float32), half.astype(np.float32))

    def make_dist(outputs: Array, log_std: Array) -> Distribution:
        mean = outputs
        if state:
            mean, log_std = outputs[..., :size], outputs[..., size:]
            log_std = jnp.clip(config.log_std_init + log_std, *LOG_STD_RANGE)
        dist: Distribution = make(mean, jnp.broadcast_to(log_std, mean.shape))
        return dist

    return Head(
        size * (1 + state), make_dist, size * (not state), config.log_std_init, squash
    )


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


def _middle(box: Box) -> tuple[np.ndarray, np.ndarray]:
    """(centre, half of the width) of the bounds of each element, as float64: [A]."""
    low, high = (
        np.broadcast_to(np.float64(bound), box.shape).reshape(-1)
        for bound in box.bounds()
    )
    return (low + high) / 2, (high - low) / 2


def _squash(centre: np.ndarray, half: np.ndarray, action: Any) -> Any:
    xp, batch = action.__array_namespace__(), (1,) * (action.ndim - 1)
    return centre.reshape(*batch, -1) + half.reshape(*batch, -1) * xp.tanh(action)


def _check(part: Space, dtype: str, config: NetworkConfig, env: str, name: str) -> None:
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
    low, high = np.min(part.low), np.max(part.high)
    bounded = np.isfinite([low, high]).all() and (_middle(part)[1] > 0).all()
    if config.log_std == "state" and config.log_std_init > LOG_STD_RANGE[1]:
        raise UsageError(
            f"network.log_std_init is {config.log_std_init:g}, and network.log_std: "
            f"state ends at {LOG_STD_RANGE[1]:g}",
            help=f"set network.log_std_init to at most {LOG_STD_RANGE[1]:g}",
        )
    if config.distribution == "squashed_gaussian" and not bounded:
        raise UsageError(
            f"network.distribution: squashed_gaussian needs finite bounds, and the "
            f"actions{name} of {env} range from {low:g} to {high:g}",
            help="set network.distribution to gaussian",
        )
