"""Actions for host environments: one small forward pass at every step."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from pgcli.arrays.fetch import fetch
from pgcli.arrays.jitted import Jit, plain_jit
from pgcli.arrays.shared import shared
from pgcli.config.schema import HostConfig, NetworkConfig
from pgcli.envs.base import EnvSpec
from pgcli.nn.numpy_forward import Forward, make_forward, make_sampler
from pgcli.nn.policy import Agent, Carry, Policy, act


@runtime_checkable
class Actor(Protocol):
    """Samples actions of an agent for N environments."""

    def begin(self, agent: Agent) -> None:
        """Sets the agent that acts from now on."""

    def step(
        self, carry: Carry, obs: Any, start: np.ndarray, noise: Any
    ) -> tuple[Carry, Any]:
        """(carry, action) for raw observations [N, …] and the noise of one step."""


def _jit_step(policy: Policy, jit: Jit = plain_jit) -> Callable[..., Any]:
    """The jitted sampling of actions."""

    def step(agent: Agent, carry: Carry, obs: Any, start: Any, noise: Any) -> Any:
        carry, dist = act(policy, agent, carry, obs, start)
        return carry, dist.sample(noise)

    jitted: Callable[..., Any] = jit(step, "action")
    return jitted


class JitActor:
    """Any policy, by a compiled call per step."""

    def __init__(self, policy: Policy, jit: Jit = plain_jit) -> None:
        """An actor of a policy; `jit` compiles its step."""
        self._step = shared(_jit_step, policy, jit)
        self._agent: Agent | None = None

    def begin(self, agent: Agent) -> None:
        """See `Actor.begin`."""
        self._agent = agent

    def step(
        self, carry: Carry, obs: Any, start: np.ndarray, noise: Any
    ) -> tuple[Carry, Any]:
        """See `Actor.step`."""
        carry, action = self._step(self._agent, carry, obs, start, noise)
        return carry, jax.tree.map(np.asarray, action)


class NumpyActor:
    """Dense networks, in NumPy."""

    def __init__(self, spec: EnvSpec, network: NetworkConfig) -> None:
        """An actor of an `ActorCritic` on the torso `mlp`."""
        self._spec, self._network = spec, network
        self._forward: Forward
        self._sample: Any

    def begin(self, agent: Agent) -> None:
        """See `Actor.begin`."""
        # NumPy arrays, once per rollout, so that a step needs no JAX nor the critic
        acting = {
            name: x for name, x in agent.params.items() if not name.startswith("value")
        }
        params, stats = fetch((acting, agent.obs_stats))
        self._forward = make_forward(params, stats, self._spec, self._network)
        self._sample = make_sampler(
            params.get("log_std"), self._spec.action, self._network
        )

    def step(
        self, carry: Carry, obs: Any, start: np.ndarray, noise: Any
    ) -> tuple[Carry, Any]:
        """See `Actor.step`."""
        return carry, self._sample(self._forward(obs), noise)


def make_actor(
    host: HostConfig,
    network: NetworkConfig,
    spec: EnvSpec,
    policy: Policy,
    jit: Jit = plain_jit,
) -> Actor:
    """The configured actor.

    Args:
      host: the host configuration, with `act` resolved.
      network: the policy's network, which `act: numpy` evaluates in NumPy.
      spec: spaces of the environments.
      policy: the policy that acts.
      jit: compiles the step of `act: jit`.
    """
    if host.act == "numpy":
        return NumpyActor(spec, network)
    return JitActor(policy, jit)
