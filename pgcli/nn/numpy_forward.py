"""The policy head of dense networks in NumPy, for acting on a few observations.

A call into XLA costs more than the arithmetic of a small network on a few rows. This
module computes only actions; values, log-probabilities and gradients come from the
compiled network with the same parameters (`pgcli.nn.networks`).
"""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pgcli.config.schema import NetworkConfig
from pgcli.envs.base import (
    ActionSpace,
    Box,
    Discrete,
    EnvSpec,
    MultiBinary,
    MultiDiscrete,
    ObsSpace,
    Space,
    component_sizes,
    mask_key,
)
from pgcli.envs.obs_parts import encoded_parts
from pgcli.nn.heads import LOG_STD_RANGE, part_head, slices
from pgcli.nn.masks import masked_bits, masked_choices
from pgcli.nn.normalize import EPS

Forward = Callable[[Any], np.ndarray]
"""Raw observations [N, …] -> outputs of the policy head [N, A], masked."""

Sampler = Callable[[np.ndarray, Any], Any]

_GELU = math.sqrt(2 / math.pi)


def _relu(x: np.ndarray) -> None:
    np.maximum(x, 0, out=x)


def _tanh(x: np.ndarray) -> None:
    np.tanh(x, out=x)


def _swish(x: np.ndarray) -> None:
    x *= 0.5 * (1 + np.tanh(0.5 * x))


def _gelu(x: np.ndarray) -> None:
    x *= 0.5 * (1 + np.tanh(_GELU * (x + 0.044715 * x * x * x)))


def _elu(x: np.ndarray) -> None:
    np.copyto(x, np.expm1(np.minimum(x, 0)), where=x < 0)


IN_PLACE: dict[str, Callable[[np.ndarray], None]] = {
    "tanh": _tanh,
    "relu": _relu,
    "swish": _swish,
    "gelu": _gelu,
    "elu": _elu,
}
"""The activations of `networks.ACTIVATIONS`; each overwrites its argument."""


def make_forward(
    params: Mapping[str, Any], obs_stats: Any, spec: EnvSpec, config: NetworkConfig
) -> Forward:
    """Policy of an `ActorCritic` with the torso `mlp`, for fixed parameters.

    Args:
      params: parameters of the network, as NumPy arrays.
      obs_stats: the agent's `ObsStats` as NumPy arrays, or None.
      spec: spaces of the environment.
      config: the network.
    """
    torso = params["policy"]
    hidden = [torso[f"Dense_{i}"] for i in range(len(torso))]
    layers = [(layer["kernel"], layer["bias"]) for layer in hidden]
    kernel, bias = (params["policy_head"][name] for name in ("kernel", "bias"))
    features = _features(spec.obs, obs_stats)
    activate, key = IN_PLACE[config.activation], mask_key(spec.obs)

    def forward(obs: Any) -> np.ndarray:
        x = features(obs)
        for weights, shift in layers:
            x = x.dot(weights)  # faster than @ by half a microsecond
            x += shift
            activate(x)
        head: np.ndarray = x.dot(kernel)
        head += bias
        if key is None:
            return head
        masked: np.ndarray = masked_head(spec.action, head, obs[key], config)
        return masked

    return forward


def masked_head(
    action: ActionSpace, head: np.ndarray, mask: np.ndarray, config: NetworkConfig
) -> Any:
    """Outputs of the policy head with invalid actions masked, as in `dist.masked`.

    Args:
      action: action space.
      head: [N, A].
      mask: [N, L].
      config: the network.
    """
    if isinstance(action, Box):
        return head
    if isinstance(action, MultiBinary):
        return masked_bits(head, mask, np)
    if isinstance(action, Space):
        return masked_choices(head, mask, component_sizes(action), np)
    parts = [action[name] for name in sorted(action)]
    outputs, _ = slices([part_head(part, config) for part in parts])
    ends = np.cumsum([sum(component_sizes(part)) for part in parts])
    cut = zip(parts, outputs, np.split(mask, ends[:-1], axis=-1), strict=True)
    masked = [masked_head(part, head[..., own], x, config) for part, own, x in cut]
    return np.concatenate(masked, axis=-1)


def make_sampler(
    log_std: Any, action_space: ActionSpace, config: NetworkConfig
) -> Sampler:
    """(head [N, A], noise [N, …]) -> actions, as `Distribution.sample` returns them.

    Args:
      log_std: the parameters of that name, or None.
      action_space: action space.
      config: the network.
    """
    if isinstance(action_space, Space):
        return _sampler(log_std, action_space, config)
    # each part reads its own outputs
    parts = dict(sorted(action_space.items()))
    heads = [part_head(part, config) for part in parts.values()]
    log_std = np.zeros(0) if log_std is None else log_std
    cuts = [
        (name, own, _sampler(log_std[std], part, config))
        for (name, part), own, std in zip(parts.items(), *slices(heads), strict=True)
    ]
    return lambda head, noise: {
        name: sample(head[..., own], noise[name]) for name, own, sample in cuts
    }


def _sampler(log_std: Any, space: Space, config: NetworkConfig) -> Sampler:
    if isinstance(space, Discrete):
        return lambda head, noise: (head + noise).argmax(axis=-1).astype(np.int32)
    if isinstance(space, MultiBinary):
        return lambda head, noise: (head + noise > 0).astype(np.int32)
    if isinstance(space, MultiDiscrete):
        return _choices(space.nvec)
    if config.log_std == "state":
        size, first = math.prod(space.shape), np.float32(config.log_std_init)
        return lambda head, noise: (
            head[..., :size]
            + np.exp((first + head[..., size:]).clip(*LOG_STD_RANGE)) * noise
        )
    std = np.exp(log_std)
    return lambda head, noise: head + std * noise


def _choices(nvec: tuple[int, ...]) -> Sampler:
    ends = list(itertools.accumulate(nvec))
    parts = [slice(end - n, end) for n, end in zip(nvec, ends, strict=True)]

    def sample(head: np.ndarray, noise: np.ndarray) -> np.ndarray:
        logits = head + noise
        chosen = [logits[..., part].argmax(axis=-1) for part in parts]
        return np.stack(chosen, axis=-1).astype(np.int32)

    return sample


def _features(space: ObsSpace, stats: Any) -> Callable[[Any], np.ndarray]:
    """Function from observations [N, …] to normalised features [N, n].

    The features are in the order of `flatten_obs`; action masks are no part of them.
    """
    clip = None if stats is None else float(stats.clip)
    if isinstance(space, Space):
        if stats is None:
            return _component(space, None, None, clip)
        return _component(space, stats.mean, stats.var, clip)
    parts = {
        name: _component(
            space[name],
            None if stats is None else stats.mean[name],
            None if stats is None else stats.var[name],
            clip,
        )
        for name in encoded_parts(space)
    }
    return lambda obs: np.concatenate(
        [part(obs[name]) for name, part in parts.items()], axis=-1
    )


def _component(
    space: Space, mean: Any, var: Any, clip: float | None
) -> Callable[[Any], np.ndarray]:
    if isinstance(space, Discrete):
        return _one_hots((space.n,), (space.start,))
    if isinstance(space, MultiDiscrete):
        return _one_hots(space.nvec, space.start)
    size = math.prod(space.shape)

    def flat(obs: np.ndarray) -> np.ndarray:
        return obs.reshape(-1, size).astype(np.float32, copy=False)

    if mean is None or clip is None or not isinstance(space, Box):
        return flat
    centre = np.asarray(mean, np.float32).reshape(size)
    variance = np.asarray(var, np.float32).reshape(size)
    scale = 1 / np.sqrt(variance + np.float32(EPS))
    low, high = np.float32(-clip), np.float32(clip)

    def normalized(obs: np.ndarray) -> np.ndarray:
        x: np.ndarray = flat(obs) - centre
        x *= scale
        np.maximum(x, low, out=x)
        np.minimum(x, high, out=x)
        return x

    return normalized


def _one_hots(
    nvec: tuple[int, ...], start: tuple[int, ...]
) -> Callable[[Any], np.ndarray]:
    """Function from [N, …] to the concatenated one-hot vectors of its elements."""
    ends = np.cumsum(nvec)
    first = ends - np.array(nvec) - np.array(start)

    def features(obs: np.ndarray) -> np.ndarray:
        columns = obs.reshape(-1, len(first)) + first
        x = np.zeros((len(columns), ends[-1]), np.float32)
        x[np.arange(len(columns))[:, None], columns] = 1
        return x

    return features
