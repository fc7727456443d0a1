"""Environments, policies and rollouts small enough to be known by heart."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.schema import (
    EnvConfig,
    NetworkConfig,
    NormalizeConfig,
    OptimizerConfig,
    ParallelConfig,
    RolloutConfig,
    RunConfig,
)
from pgcli.envs.actions import env_action, random_action
from pgcli.envs.base import (
    ActionSpace,
    Box,
    DeviceEnv,
    Discrete,
    EnvSpec,
    HostSlot,
    ObsSpace,
    Space,
    Step,
)
from pgcli.nn.distributions import Categorical, DiagGaussian
from pgcli.nn.joint import Joint
from pgcli.nn.networks import flatten_obs
from pgcli.nn.policy import Agent, Policy, zero_obs
from pgcli.rollout.policy_outputs import complete
from pgcli.rollout.types import Rollout, RolloutShape, Transitions
from pgcli.versions import compiler_options

quick_jit = partial(
    jax.jit,
    compiler_options=compiler_options(
        xla_backend_optimization_level=0, xla_cpu_use_fusion_emitters=False
    ),
)
"""`jax.jit` that compiles in a fifth of the time: what a test runs, it runs once."""

DISCRETE = Discrete(2)
CONTINUOUS = Box((1,), "float32", -1.0, 1.0)
PARTS = {"moves": DISCRETE, "go": CONTINUOUS}
FLAT = Box((2,), "float32", -np.inf, np.inf)
TWO_KEYS = {"place": FLAT, "clock": Discrete(4, start=1)}


def walk(
    action: ActionSpace = DISCRETE, obs: ObsSpace = FLAT, limit: int | None = 5
) -> DeviceEnv:
    """A walk on a line that leaves no room for chance.

    Terminates beyond ±1, truncates at `limit`, and always begins at 0: on the device
    and on the host the same actions give the same episodes, whatever the keys.
    """
    spec = EnvSpec("toy:walk", obs, action, limit)

    def observe(place: Any, elapsed: Any) -> Any:
        flat = jnp.stack([place, elapsed.astype(jnp.float32) / 4])
        if obs is TWO_KEYS:
            return {"place": flat, "clock": 1 + elapsed % 4}
        return flat

    def reset(key: Any) -> tuple[Any, Any]:
        place, elapsed = jnp.float32(0), jnp.int32(0)
        return (place, elapsed), observe(place, elapsed)

    def step(key: Any, state: Any, action: Any) -> tuple[Any, Step]:
        place, elapsed = state
        if isinstance(action, dict):
            action = action["go"] * action["moves"].astype(jnp.float32)
        move = action[0] if action.ndim else 2 * action.astype(jnp.float32) - 1
        place, elapsed = place + 0.4 * move, elapsed + 1
        truncated = jnp.bool_(False) if limit is None else elapsed >= limit
        return (place, elapsed), Step(
            observe(place, elapsed), 1 - place, jnp.abs(place) > 1, truncated
        )

    return DeviceEnv(spec, reset, step, cuts_at_limit_only=limit is not None)


def forever(limit: int, declared: int | None = None) -> DeviceEnv:
    """Reward 1 for ever, seen through a constant observation, cut every few steps.

    Args:
      limit: steps after which it is cut.
      declared: time limit that it has by its own account; `limit` if None.
    """
    spec = EnvSpec(
        "toy:forever",
        Box((1,), "float32", -np.inf, np.inf),
        DISCRETE,
        declared or limit,
    )

    def reset(key: Any) -> tuple[Any, Any]:
        return jnp.int32(0), jnp.ones(1)

    def step(key: Any, state: Any, action: Any) -> tuple[Any, Step]:
        cut = state + 1 >= limit
        return state + 1, Step(jnp.ones(1), jnp.float32(1), jnp.bool_(False), cut)

    return DeviceEnv(spec, reset, step, cuts_at_limit_only=declared is None)


class OnHost:
    """A device environment that ignores its keys, as a host environment."""

    def __init__(self, env: DeviceEnv, num_envs: int) -> None:
        self.spec = env.spec
        self.num_envs = num_envs
        self._keys = jax.random.split(jax.random.key(0), num_envs)
        self._reset = quick_jit(jax.vmap(env.reset))
        self._step = quick_jit(jax.vmap(env.step))
        self._state: Any = None

    def reset(self, obs: Any) -> None:
        self._state, first = self._reset(self._keys)
        jax.tree.map(lambda target, value: np.copyto(target, value), obs, first)

    def step(
        self, action: Any, slot: HostSlot, active: np.ndarray | None = None
    ) -> list[tuple[int, Any]]:
        action = env_action(self.spec.action, action)
        state, outcome = self._step(self._keys, self._state, action)
        fresh, first = self._reset(self._keys)
        outcome = jax.device_get(outcome)
        done = outcome.terminated | outcome.truncated

        def choose(new: Any, old: Any) -> Any:
            return np.where(done.reshape(-1, *(1,) * (old.ndim - 1)), new, old)

        self._state = jax.tree.map(choose, fresh, state)
        slot.reward[:], slot.start[:] = outcome.reward, done
        slot.terminated[:], slot.truncated[:] = outcome.terminated, outcome.truncated
        nexts = jax.tree.map(choose, first, outcome.obs)
        jax.tree.map(lambda target, value: np.copyto(target, value), slot.obs, nexts)
        cut = np.flatnonzero(outcome.truncated & ~outcome.terminated)
        return [(int(n), jax.tree.map(lambda x, n=n: x[n], outcome.obs)) for n in cut]

    def close(self) -> None:
        pass


def gated_policy(spec: EnvSpec, width: int = 3) -> Policy:
    """A recurrent policy: one gated layer between the observation and the heads."""
    discrete = isinstance(spec.action, Discrete)
    num_actions = spec.action.n if discrete else spec.action.shape[0]
    num_features = flatten_obs(spec.obs, zero_obs(spec.obs, (1,))).shape[-1]

    def init(key: Any) -> Any:
        shapes = {
            "gate": (num_features + width, width),
            "new": (num_features + width, width),
            "head": (width, num_actions),
            "value": (width, 1),
        }
        keys = jax.random.split(key, len(shapes))
        params = {
            name: 0.5 * jax.random.normal(k, shape)
            for k, (name, shape) in zip(keys, shapes.items(), strict=True)
        }
        return params if discrete else params | {"log_std": jnp.zeros(num_actions)}

    def apply(params: Any, carry: Any, obs: Any, start: Any) -> tuple[Any, Any, Any]:
        if start.ndim == 1:
            return one_step(params, carry, obs, start)

        def step(carry: Any, inputs: Any) -> Any:
            after = one_step(params, carry, *inputs)
            return after[0], after

        return jax.lax.scan(step, carry, (obs, start))[1]

    def one_step(params: Any, carry: Any, obs: Any, start: Any) -> tuple[Any, Any, Any]:
        carry = jnp.where(start[:, None], 0.0, carry)
        seen = jnp.concatenate([flatten_obs(spec.obs, obs), carry], axis=-1)
        gate = jax.nn.sigmoid(seen @ params["gate"])
        carry = gate * carry + (1 - gate) * jnp.tanh(seen @ params["new"])
        head, value = carry @ params["head"], (carry @ params["value"])[:, 0]
        if discrete:
            return carry, Categorical(head), value
        return carry, DiagGaussian(head, 0 * head + params["log_std"][None]), value

    return Policy(init, lambda num_envs: jnp.zeros((num_envs, width)), apply)


def linear_policy(spec: EnvSpec) -> Policy:
    """Logits or means, and V, linear in the observation; ten numbers in all."""
    parts = spec.action if isinstance(spec.action, dict) else {"": spec.action}
    sizes = {
        k: x.n if isinstance(x, Discrete) else x.shape[0] for k, x in parts.items()
    }
    num_actions = sum(sizes.values())

    def plain(space: Space, head: Any, log_std: Any) -> Any:
        if isinstance(space, Discrete):
            return Categorical(head)
        return DiagGaussian(head, jnp.broadcast_to(log_std, head.shape))

    def init(key: Any) -> Any:
        head, value = jax.random.split(key)
        return {
            "head": 0.3 * jax.random.normal(head, (2, num_actions)),
            "value": 0.3 * jax.random.normal(value, (2, 1)),
            "bias": jnp.full(1, 0.1),
            "log_std": jnp.full(num_actions, -0.2),
        }

    def apply(params: Any, carry: Any, obs: Any, start: Any) -> tuple[Any, Any, Any]:
        head = obs @ params["head"]
        value = (obs @ params["value"])[..., 0] + params["bias"][0]
        dists, begin = {}, 0
        for name, size in sizes.items():
            own = slice(begin, begin + size)
            log_std = params["log_std"][own]
            dists[name] = plain(parts[name], head[..., own], log_std)
            begin += size
        return carry, dists[""] if "" in dists else Joint(dists), value

    return Policy(init, lambda num_envs: (), apply)


def spec_of(action: Space = DISCRETE, obs: ObsSpace = FLAT) -> EnvSpec:
    """What a policy must know of the walk."""
    return EnvSpec("toy:walk", obs, action)


def shape_of(rollout: Rollout) -> RolloutShape:
    """Shape of a rollout; spaces that no algorithm here looks at."""
    return RolloutShape(*rollout.weight.shape, FLAT, DISCRETE)


def random_transitions(
    action: ActionSpace, seed: int, num_steps: int, num_envs: int, carry: Any = ()
) -> Transitions:
    """Made-up transitions in which every third step, about, ends an episode."""
    rng = np.random.default_rng(seed)
    shape = (num_steps, num_envs)
    terminated, truncated = rng.random(shape) < 0.2, rng.random(shape) < 0.2
    done = terminated | truncated
    (index,) = np.nonzero((truncated & ~terminated).reshape(-1))
    pad = np.full(3, num_steps * num_envs)
    first = np.ones((1, num_envs), bool)

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    return Transitions(
        obs=normal(num_steps + 1, num_envs, 2),
        action=rng.integers(0, 2, shape).astype(np.int32)
        if isinstance(action, Discrete)
        else random_action(action, shape, rng),
        reward=normal(*shape),
        terminated=terminated,
        truncated=truncated,
        start=np.concatenate([first, done]),
        weight=np.ones(shape, np.float32),
        final_obs=normal(index.size + pad.size, 2),
        final_index=np.concatenate([index, pad]).astype(np.int32),
        first_carry=carry,
    )


def random_rollout(
    policy: Policy, params: Any, transitions: Transitions, obs_stats: Any = None
) -> Rollout:
    """The rollout that `policy` would have made of the transitions, jitted."""

    def run(params: Any, transitions: Transitions) -> Rollout:
        agent = Agent(params, obs_stats)
        return complete(policy, agent, transitions, transitions.reward)

    return quick_jit(run)(params, transitions)


def run_config(
    algo: str = "ppo2",
    *,
    num_envs: int = 4,
    num_steps: int = 8,
    shards: int = 2,
    optimizer: OptimizerConfig | None = None,
    normalize: NormalizeConfig | None = None,
    **hyper: Any,
) -> RunConfig:
    """A configuration with the smallest network that learns anything."""
    return RunConfig(
        algo=ALGORITHM_CONFIGS[algo](**hyper),
        env=EnvConfig("toy:walk", num_envs),
        rollout=RolloutConfig(num_steps),
        optimizer=optimizer or OptimizerConfig(),
        network=NetworkConfig(hidden=(8,)),
        normalize=normalize or NormalizeConfig(),
        parallel=ParallelConfig(shards),
    )
