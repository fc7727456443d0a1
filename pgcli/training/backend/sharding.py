"""Shardings of a run over several devices."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding

from pgcli.arrays import random_keys
from pgcli.arrays.device_mesh import EVERYWHERE, ROWS
from pgcli.nn.policy import Agent
from pgcli.rollout.types import TRANSITION_SPECS
from pgcli.training.backend.compilation import RUN_OFTEN
from pgcli.training.state import RunState
from pgcli.training.step import Knobs, Report, Setup, init_run, learn

Learn = Callable[..., tuple[RunState, Report]]
"""(knobs, state, transitions, budget, key) -> (state, report), compiled."""


def placement(mesh: Mesh, state: Any) -> Any:
    """Shardings of a state: arrays with an axis of environments are split along it."""
    tally = (".tally.return_", ".tally.remainder", ".tally.length")
    split = (".env", *tally, ".reward_scaler.discounted")

    def place(path: Any, _: Any) -> NamedSharding:
        name = jax.tree_util.keystr(path)
        local = name.startswith(split[0]) or name.endswith(split[1:])
        return NamedSharding(mesh, ROWS if local else EVERYWHERE)

    return jax.tree_util.tree_map_with_path(place, state)


def make_learner(
    setup: Setup, mesh: Mesh | None, structure: Knobs
) -> tuple[Callable[[Knobs, jax.Array], RunState], Learn]:
    """(function that initialises a run, function that learns from transitions).

    The first takes knobs and a key, which it consumes. The second donates its state.
    Transitions may be NumPy arrays; every device gets the columns of its environments.

    Args:
      setup: static structure of the run.
      mesh: devices of the run; None for a single one.
      structure: of the knobs.
    """
    init, step = partial(init_run, setup), partial(learn, setup)
    # a single device
    if mesh is None:
        learn_often = jax.jit(step, donate_argnames="state", compiler_options=RUN_OFTEN)
        return jax.jit(init), learn_often

    # several: transitions are split along the environments, the rest is replicated
    everywhere = NamedSharding(mesh, EVERYWHERE)
    states = placement(mesh, jax.eval_shape(init, structure, random_keys.key(0)))
    parts = jax.tree.map(lambda spec: NamedSharding(mesh, spec), TRANSITION_SPECS)
    compiled = jax.jit(
        step,
        donate_argnums=1,
        in_shardings=(everywhere, states, parts, everywhere, everywhere),
        out_shardings=(states, everywhere),
        compiler_options=RUN_OFTEN,
    )

    def on_mesh(*arguments: Any) -> tuple[RunState, Report]:
        with jax.set_mesh(mesh):
            result: tuple[RunState, Report] = compiled(*arguments)
        return result

    return jax.jit(init, out_shardings=states), on_mesh


def on_first(agent: Agent) -> Agent:
    """The replicated agent on the first device only."""
    first: Agent = jax.tree.map(lambda x: x.addressable_data(0), agent)
    return first
