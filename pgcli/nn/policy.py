"""`Policy`: the interface between algorithms and networks."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from pgcli.arrays.shapes import Array, Bool, Float, Key
from pgcli.config.schema import NetworkConfig
from pgcli.envs.base import EnvSpec, ObsSpace, Space, split_mask, without_mask
from pgcli.nn.distributions import Distribution
from pgcli.nn.heads import identity, make_head
from pgcli.nn.networks import ActorCritic, initial_carry
from pgcli.nn.normalize import ObsStats, normalize_obs
from pgcli.nn.own_networks import check_networks, own_names

Params = Any
Carry = Any


class Policy(NamedTuple):
    """π_θ and V_φ as pure functions over one parameter tree.

    Attributes:
      init: key -> params. Consumes the key.
      initial_carry: batch size -> recurrent state [N, …]; () for feed-forward.
      apply: (params, carry, obs, start) -> (carry, Distribution, value).
        `start` marks states that begin an episode, at which a recurrent state is
        reset. Batch axes are those of `start`: of a recurrent policy (N,) for one step
        or (T, N) for a sequence, in which case the carry is returned after every step;
        of a feed-forward policy any.
      squash: sampled actions, NumPy or JAX -> those of the action space. They differ if
        a squashed Gaussian, whose samples are stored before the tanh, is part of it.
    """

    init: Callable[[Array], Params]
    initial_carry: Callable[[int], Carry]
    apply: Callable[..., tuple[Carry, Distribution, Array]]
    squash: Callable[[Any], Any] = identity

    @property
    def recurrent(self) -> bool:
        """Whether the policy carries state from step to step."""
        return bool(jax.tree.leaves(self.initial_carry(1)))


class Agent(struct.PyTreeNode):
    """Parameters and observation statistics: everything that acting requires."""

    params: Params
    obs_stats: ObsStats | None


def make_policy(spec: EnvSpec, config: NetworkConfig) -> Policy:
    """The policy for the spaces of `spec`.

    Raises:
      EnvironmentFailed: no distribution exists for the action space.
      UsageError: the configuration does not fit the spaces, or a user's network fails.
    """
    head, seen = make_head(spec, config), without_mask(spec.obs)
    network = ActorCritic(config, seen, head)
    if own_names(config):
        check_networks(config, network, one_step(config, seen, 2))

    def init(key: Key[Array, ""]) -> Params:
        return network.init(key, *one_step(config, seen, 1))["params"]

    def apply(
        params: Params, carry: Carry, obs: Any, start: Array
    ) -> tuple[Carry, Distribution, Array]:
        obs, mask = split_mask(spec.obs, obs)
        outputs: Any = network.apply({"params": params}, carry, obs, start)
        carry, dist, value = outputs
        return carry, dist if mask is None else dist.masked(mask), value

    return Policy(init, partial(initial_carry, config), apply, head.squash)


def one_step(
    config: NetworkConfig, space: ObsSpace, num_envs: int
) -> tuple[Carry, Any, Array]:
    """Arguments (carry, obs, start) of a network, for one step."""
    carry, start = initial_carry(config, num_envs), jnp.zeros(num_envs, bool)
    return carry, zero_obs(space, (num_envs,)), start


def zero_obs(space: ObsSpace, batch: tuple[int, ...]) -> Any:
    """An observation of zeros with leading batch axes."""
    if isinstance(space, Space):
        return jnp.zeros((*batch, *space.shape), space.dtype)
    return {name: zero_obs(part, batch) for name, part in space.items()}


def act(
    policy: Policy, agent: Agent, carry: Carry, obs: Any, start: Bool[Array, " N"]
) -> tuple[Carry, Distribution]:
    """π(·|s) for raw observations [N, …], with the agent's frozen statistics."""
    carry, dist, _ = policy.apply(
        agent.params, carry, normalize_obs(agent.obs_stats, obs), start
    )
    return carry, dist


def draw_noise(
    policy: Policy,
    agent: Agent | None,
    obs_space: ObsSpace,
    keys: Key[Array, " N"],
    num_steps: int,
) -> Any:
    """Sampling noise [T, N, …] of a whole rollout; environment n uses `keys[n]`.

    The noise does not depend on the agent, whose shapes are found if it is None.
    """
    prototype: Distribution = jax.eval_shape(
        lambda: act(
            policy,
            agent or Agent(policy.init(keys[0]), None),
            policy.initial_carry(1),
            zero_obs(obs_space, (1,)),
            jnp.zeros(1, bool),
        )[1]
    )

    def of_env(key: Array) -> Any:
        return prototype.noise(key, (num_steps,))

    return jax.vmap(of_env, out_axes=1)(keys)


class Unrolled(NamedTuple):
    """Outputs of a policy for a batch."""

    dist: Distribution
    value: Float[Array, "*batch"]
    carry: Carry
    """The recurrent state after each step; () for feed-forward."""


def unroll(
    policy: Policy,
    params: Params,
    first_carry: Carry,
    obs: Any,
    start: Bool[Array, "*batch"],
) -> Unrolled:
    """Outputs of a policy for normalised observations.

    A feed-forward policy is evaluated at once, a recurrent one by a scan over time.

    Args:
      policy: the policy.
      params: parameters θ of the policy.
      first_carry: recurrent state [N, …] before the first step; () for feed-forward.
      obs: [*batch, …]; for a recurrent policy the batch axes are (T, N).
      start: whether the step is the first of an episode.
    """
    carry, dist, value = policy.apply(params, first_carry, obs, start)
    return Unrolled(dist, value, carry)
