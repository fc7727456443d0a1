"""`pgcli bench`: how training time is spent, and the limit of this machine.

Each part is measured alone, after compilation: stepping the environments, collection,
the update, and whole iterations. The rest of an iteration is overhead.
"""

import dataclasses
import resource
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pgcli.arrays.device_mesh import COLUMNS, ROWS, per_device
from pgcli.arrays.fetch import fetch
from pgcli.arrays.packing import pack
from pgcli.config.schema import RunConfig
from pgcli.diagnose.limits import limits, measure, of_iteration
from pgcli.diagnose.shares import advice, bottleneck, split
from pgcli.envs.actions import random_action
from pgcli.envs.base import DeviceEnv, EnvSpec, split_mask
from pgcli.envs.make import make_device_env
from pgcli.envs.obs_trees import rows
from pgcli.errors import UsageError
from pgcli.rollout.device_collector import begin, collect, step_and_reset
from pgcli.rollout.device_episode_collector import collect_episodes
from pgcli.rollout.host_actor import make_actor
from pgcli.rollout.host_collector import empty_slot
from pgcli.rollout.types import Transitions
from pgcli.training.backend import layout
from pgcli.training.backend.precision import in_32_bits
from pgcli.training.backend.sharding import ambient, make_learner
from pgcli.training.loops.device_loop import DeviceLoop
from pgcli.training.loops.host_loop import HostLoop, make_collector, make_train_envs
from pgcli.training.step import Setup, init_agent, make_knobs
from pgcli.training.timing import Clock

FOREVER = 10**12
"""A budget that no measurement reaches, so that schedules stay at their start."""

REPEATS = 4
"""Measurements of each part. The fastest is used: interference only slows."""


class Parts(NamedTuple):
    """The measured functions. Each returns its number of environment steps."""

    bare: Callable[[], int]
    collection: Callable[[], int]
    update: Callable[[], int]
    whole: Callable[[], int]


class Measured(NamedTuple):
    """What is measured of a run."""

    parts: Parts
    transitions: Transitions
    """Those that the update learns from."""


@in_32_bits()
def bench(config: RunConfig, seconds: float = 10.0) -> dict[str, Any]:
    """Rates of a configuration's parts, in environment steps per second.

    Args:
      config: the resolved configuration of a run.
      seconds: total measuring time without compilation.

    Returns:
      `ok, algo, env, backend, num_envs, helpers, accelerator, devices, rates, shares,
      arithmetic, limits, act_microseconds, compile_seconds, memory_bytes,
      device_memory_bytes, bottleneck, advice`.

    Raises:
      UsageError: the configuration has several members.
      AcceleratorError, EnvironmentFailed: as in training.
    """
    if config.has_members:
        raise UsageError("bench measures one run: leave out --seeds and --grid")
    config = dataclasses.replace(config, steps=FOREVER)
    # the mesh and the device of training
    backend, clock = layout.start(config), Clock()
    mesh, device = backend.mesh, config.env.on_device
    with ExitStack() as stack:
        # host environments are stepped outside the mesh, as in training
        if mesh and device:
            stack.enter_context(jax.set_mesh(mesh))
        loop: DeviceLoop | HostLoop
        if device:
            env = make_device_env(config.env)
            loop = stack.enter_context(closing(DeviceLoop(config, env, mesh=mesh)))
            parts, learned = _on_device(config, env, loop, mesh)
        else:
            loop = stack.enter_context(closing(HostLoop(config, mesh=mesh)))
            parts, learned = _on_host(config, loop, mesh, stack)
        # the first call compiles; its compilation time is reported alone
        parts.whole()
        compiled = clock.compile
        each = seconds / len(parts) / REPEATS
        rates = {name: rate(part, each) for name, part in parts._asdict().items()}
        work = of_iteration(loop.setup, make_knobs(config), learned, mesh)
        arithmetic = measure(work, mesh, rate)
        # episodes have become longer during the measurement
        before = loop.iteration
        steps = parts.whole() / (loop.iteration - before)
    # shares of an iteration, and the time of acting per step of all environments
    shares = split(rates)
    memory = jax.devices()[0].memory_stats() or {}
    acting = max(1 / rates["collection"] - 1 / rates["bare"], 0.0)
    return {
        "ok": True,
        "algo": config.algo.name,
        "env": config.env.id,
        "backend": "device" if device else "host",
        "num_envs": config.env.num_envs,
        "helpers": loop.helpers,
        "accelerator": backend.accelerator.platform,
        "devices": backend.accelerator.devices,
        "rates": {name: round(value, 1) for name, value in rates.items()},
        "shares": {name: round(value, 4) for name, value in shares.items()},
        "arithmetic": arithmetic,
        "limits": limits(arithmetic, rates, steps),
        "act_microseconds": round(1e6 * acting * config.env.num_envs, 2),
        "compile_seconds": round(compiled, 3),
        "memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "device_memory_bytes": memory.get("peak_bytes_in_use"),
        "bottleneck": bottleneck(shares),
        "advice": advice(shares, config, loop.helpers),
    }


def rate(part: Callable[[], int], seconds: float) -> float:
    """Steps per second: the best of several measurements, after a first call."""
    part()
    best = 0.0
    for _ in range(REPEATS):
        steps, start = 0, time.perf_counter()
        while True:
            steps += part()
            elapsed = time.perf_counter() - start
            if elapsed >= seconds:
                break
        best = max(best, steps / elapsed)
    return best


def wait(result: Any) -> None:
    """Waits until a result is computed."""
    jax.block_until_ready(result)  # type: ignore[no-untyped-call]


def _count(transitions: Transitions) -> int:
    return int(np.sum(np.asarray(transitions.weight) > 0))


def _updater(
    setup: Setup, config: RunConfig, transitions: Transitions, mesh: Any
) -> Callable[[], int]:
    """A function that repeats the update on the same transitions."""
    knobs, key = make_knobs(config), jax.random.key(0)
    begin_run, fit = make_learner(setup, mesh)
    state = begin_run(knobs, key)
    if not config.env.on_device and mesh is None and config.host.act == "numpy":
        state = pack(fetch(state), np)  # as in training
    budget, steps = np.array([2**8, 0], np.uint32), _count(transitions)

    def update() -> int:
        nonlocal state
        with ambient(mesh):
            state, report = fit(knobs, state, transitions, budget, key)
        wait(report)
        return steps

    return update


def _whole(loop: DeviceLoop | HostLoop) -> Callable[[], int]:
    """A function that runs iterations of training for a quarter of a second."""

    def whole() -> int:
        before = loop.steps
        loop.advance(FOREVER, 0.25)
        return loop.steps - before

    return whole


def _random_actions(spec: EnvSpec, num_steps: int, num_envs: int) -> Any:
    """Random actions [T, N, …] in the format of a policy."""
    generator = np.random.default_rng(0)
    return random_action(spec.action, (num_steps, num_envs), generator)


def _on_device(
    config: RunConfig, env: DeviceEnv, loop: DeviceLoop, mesh: Any
) -> Measured:
    # an untrained agent, environments at their start, and random actions [T, N, …]
    setup, policy = loop.setup, loop.setup.policy
    num_envs, num_steps = setup.columns, setup.num_steps
    key = jax.random.key(0)
    agent = jax.jit(partial(init_agent, setup))(key)
    first = jax.jit(lambda key: begin(env, policy, key, num_envs))(key)
    drawn = _random_actions(env.spec, num_steps, num_envs)
    actions = jax.tree.map(jnp.asarray, drawn)

    # environment steps without a policy, on all devices
    def steps_of_device(state: Any, actions: Any) -> Any:
        def step(state: Any, inputs: Any) -> Any:
            action, key = inputs
            state, _, outcome = step_and_reset(env, key, state, action)
            return state, outcome.reward

        return jax.lax.scan(step, state, (actions, jax.random.split(key, num_steps)))

    bare_steps = jax.jit(
        per_device(steps_of_device, in_specs=(ROWS, COLUMNS), out_specs=(ROWS, COLUMNS))
    )

    # a rollout of the kind that the algorithm learns from
    @jax.jit
    def gather(agent: Any, first: Any) -> Transitions:
        if setup.algorithm.collects == "episodes":
            return collect_episodes(env, policy, agent, key, num_envs, num_steps)
        return collect(env, policy, agent, first, key, num_steps)[1]

    def bare() -> int:
        wait(bare_steps(first.state, actions))
        return num_envs * num_steps

    transitions = gather(agent, first)
    steps = _count(transitions)

    def collection() -> int:
        wait(gather(agent, first))
        return steps

    update = _updater(setup, config, transitions, mesh)
    return Measured(Parts(bare, collection, update, _whole(loop)), transitions)


def _on_host(
    config: RunConfig, loop: HostLoop, mesh: Any, stack: ExitStack
) -> Measured:
    # two more sets of environments, to collect and to step; closed by `stack`
    setup = loop.setup
    to_collect, to_step = (
        stack.enter_context(closing(make_train_envs(config, episode_set)))
        for episode_set in (1, 2)
    )
    key = jax.random.key(0)
    agent = jax.jit(partial(init_agent, setup))(key)
    # a collector with the actor of training
    collector = make_collector(
        to_collect,
        setup,
        make_actor(config.host, config.network, setup.spec, setup.policy),
        with_lives=config.rollout.end_on_life_loss,
        devices=mesh.size if mesh else 1,
    )
    # environment steps without a policy, with random actions [T, N, …]
    num_steps, num_envs = min(setup.num_steps, 256), config.env.num_envs
    actions = _random_actions(setup.spec, num_steps, num_envs)
    slot = empty_slot(to_step)
    to_step.reset(slot.obs)
    random = np.random.default_rng(0)

    def bare() -> int:
        for t in range(num_steps):
            mask = split_mask(setup.spec.obs, slot.obs)[1]
            action = rows(actions, t)
            if mask is not None:
                action = random_action(setup.spec.action, (num_envs,), random, mask)
            to_step.step(action, slot)
        return num_steps * num_envs

    # copied: the collector writes into its buffers again
    transitions = jax.device_get(collector.collect(agent, key))

    def collection() -> int:
        return _count(collector.collect(agent, key))

    update = _updater(setup, config, transitions, mesh)
    return Measured(Parts(bare, collection, update, _whole(loop)), transitions)
