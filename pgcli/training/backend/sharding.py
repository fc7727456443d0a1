"""Shardings of a run over several devices."""

import contextlib
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from pgcli.arrays import random_keys
from pgcli.arrays.device_mesh import EVERYWHERE, ROWS
from pgcli.arrays.jitted import Jit, plain_jit
from pgcli.arrays.packing import Packed, pack, unpack
from pgcli.nn.normalize import RewardScaler
from pgcli.nn.policy import Agent
from pgcli.rollout.types import TRANSITION_SPECS
from pgcli.training.backend.compilation import RUN_OFTEN
from pgcli.training.state import EpisodeTally, RunState
from pgcli.training.step import Knobs, Setup, init_run, learn


def ambient(mesh: Mesh | None) -> AbstractContextManager[Any]:
    """A block in which programs are traced for the devices of a mesh; None for one."""
    return jax.set_mesh(mesh) if mesh else contextlib.nullcontext()


def placement(mesh: Mesh, setup: Setup) -> RunState:
    """Shardings of the state of a run, one for all arrays in the same place.

    Arrays with an axis of environments are split along it.
    """
    whole: Any = NamedSharding(mesh, EVERYWHERE)
    split: Any = NamedSharding(mesh, ROWS)
    return RunState(
        learner=whole,
        iteration=whole,
        steps=whole,
        tally=EpisodeTally(
            return_=split,
            remainder=split,
            length=split,
            recent_return=whole,
            recent_length=whole,
            count=whole,
        ),
        reward_scaler=RewardScaler(count=whole, mean=whole, var=whole, discounted=split)
        if setup.normalize.reward
        else None,
    )


def make_learner(
    setup: Setup, mesh: Mesh | None = None, jit: Jit = plain_jit
) -> tuple[Any, Any]:
    """(initialisation, learning) of a run on the host, jitted.

    (knobs, key) -> state, which consumes the key, and (knobs, state, transitions,
    budget, key) -> (state, report), which donates the state and is called in a block of
    `ambient`. Transitions may be NumPy arrays; every device gets the columns of its
    environments. State and report are `Packed` if the given state is; the second key
    may be given as its words.

    Args:
      setup: static structure of the run.
      mesh: devices of the run; None for a single one.
      jit: compiles the functions.
    """
    once: dict[str, Any] = {}
    often: dict[str, Any] = {"donate_argnums": 1, "compiler_options": RUN_OFTEN}
    # on several devices transitions are split along the environments
    if mesh is not None:
        everywhere = NamedSharding(mesh, EVERYWHERE)
        states = placement(mesh, setup)
        parts = jax.tree.map(lambda spec: NamedSharding(mesh, spec), TRANSITION_SPECS)
        once["out_shardings"] = states
        often["in_shardings"] = (everywhere, states, parts, everywhere, everywhere)
        often["out_shardings"] = (states, everywhere)
    return (
        jit(partial(init_run, setup), "initialisation", **once),
        jit(partial(_learn, setup), "learning", **often),
    )


def _learn(
    setup: Setup, knobs: Knobs, state: Any, transitions: Any, budget: Any, key: Any
) -> tuple[Any, Any]:
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = random_keys.as_keys(key)
    if not isinstance(state, Packed):
        return learn(setup, knobs, state, transitions, budget, key)
    state, report = learn(setup, knobs, unpack(state), transitions, budget, key)
    return pack(state), pack(report)


def on_first(agent: Agent) -> Agent:
    """The replicated agent on the first device only."""
    first: Agent = jax.tree.map(lambda x: x.addressable_data(0), agent)
    return first
