"""The limit of the machine: rates if an iteration were nothing but arithmetic."""

import contextlib
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from pgcli.arrays.device_mesh import EVERYWHERE, ROWS, per_device
from pgcli.arrays.shapes import Array
from pgcli.diagnose.arithmetic import (
    FUNCTIONS,
    PRODUCTS,
    Operation,
    merged,
    of_kind,
    operations,
    work,
)
from pgcli.nn.policy import act
from pgcli.rollout.types import Transitions
from pgcli.training.backend.compilation import RUN_OFTEN
from pgcli.training.step import Knobs, Setup, init_run, learn

SAMPLE = {"flops": 1e9, "functions": 2e7}
"""Arithmetic of one measured call, a few milliseconds on a core."""

IN_CACHE = 2**14
"""Most values of a function at once: they stay near the core, as within a fusion."""

FEW = 4
"""Least number of evaluations in a call."""

SMALL = 0.03
"""Share of all arithmetic below which an operation is not measured."""

SECONDS = 0.05
"""Time of one measurement."""

Rate = Callable[[Callable[[], int], float], float]
"""(part, seconds of one measurement) -> work per second."""


def of_iteration(
    setup: Setup, knobs: Knobs, transitions: Transitions, mesh: Mesh | None
) -> list[Operation]:
    """Operations of acting and of the update, in one iteration on all devices.

    Those of environments are not in it.

    Args:
      setup: static structure of the run.
      knobs: its numbers.
      transitions: transitions of one rollout, of which the shapes count.
      mesh: devices of the run; None for a single one.
    """
    policy, columns = setup.policy, setup.columns
    state = jax.eval_shape(partial(init_run, setup), knobs, jax.random.key(0))
    obs = jax.tree.map(lambda x: x[0], transitions.obs)
    start, words = np.ones(columns, bool), np.zeros(2, np.uint32)
    with in_mesh(mesh):
        acting = jax.make_jaxpr(partial(act, policy))(
            state.learner.agent, policy.initial_carry(columns), obs, start
        )
        update = jax.make_jaxpr(partial(learn, setup))(
            knobs, state, transitions, words, jax.random.key(0)
        )
    return merged([*operations(acting, setup.num_steps), *operations(update)])


def in_mesh(mesh: Mesh | None) -> contextlib.AbstractContextManager[Any]:
    """The context of a mesh, if there is one."""
    return jax.set_mesh(mesh) if mesh else contextlib.nullcontext()


def measure(parts: list[Operation], mesh: Mesh | None, rate: Rate) -> dict[str, Any]:
    """Work of an iteration and the machine's rate for it: products, then functions.

    Args:
      parts: result of `of_iteration`.
      mesh: devices of the run; None for a single one.
      rate: measures a function that returns its work.
    """
    result: dict[str, Any] = {}
    for name, names in (("flops", PRODUCTS), ("functions", FUNCTIONS)):
        kind = of_kind(parts, names)
        result[name] = sum(each.work for each in kind)
        call = _sample(kind, mesh, SAMPLE[name])
        result[f"{name}_per_second"] = round(rate(call, SECONDS)) if call else None
    return result


class _Repeated(NamedTuple):
    """An operation, evaluated several times with operands of these shapes."""

    equation: Any
    shapes: list[tuple[int, ...]]
    times: int
    work: int  # of all evaluations


def _repeated(operation: Operation, amount: float) -> _Repeated:
    """An operation with about this amount of work."""
    equation, each = operation.equation, work(operation.equation)
    shapes = [v.aval.shape for v in equation.invars]
    if equation.primitive.name in FUNCTIONS and each > IN_CACHE:
        shapes = [(IN_CACHE,) if math.prod(x) == each else x for x in shapes]
        each = IN_CACHE
    times = max(FEW, round(amount / each))
    return _Repeated(equation, shapes, times, times * each)


def _sample(
    parts: list[Operation], mesh: Mesh | None, amount: float
) -> Callable[[], int] | None:
    """A function that evaluates operations in proportion and returns its work."""
    total = sum(each.work for each in parts)
    plan = [
        _repeated(each, amount * each.work / total)
        for each in parts
        if each.work > SMALL * total
    ]
    if not plan:
        return None
    done = (mesh.size if mesh else 1) * sum(each.work for each in plan)
    random = np.random.default_rng(0)
    operands = [
        [
            random.random(shape).astype(v.aval.dtype)
            for shape, v in zip(each.shapes, each.equation.invars, strict=True)
        ]
        for each in plan
    ]

    def evaluate(operands: list[list[Array]]) -> Array:
        last = jnp.zeros(())
        # one after the other
        for each, inputs in zip(plan, operands, strict=True):
            last = _repeat(each, inputs, last)
        return last[None]

    with in_mesh(mesh):
        spread = jax.jit(
            per_device(evaluate, in_specs=(EVERYWHERE,), out_specs=ROWS),
            compiler_options=RUN_OFTEN,
        )
        # once: passing arrays of NumPy takes longer than wide products
        there = jax.device_put(
            operands, NamedSharding(mesh, EVERYWHERE) if mesh else None
        )

    def call() -> int:
        with in_mesh(mesh):
            jax.block_until_ready(spread(there))  # type: ignore[no-untyped-call]
        return done

    return call


def _repeat(repeated: _Repeated, operands: list[Array], last: Array) -> Array:
    """One value of an operation after all evaluations, which depend on `last`."""
    equation = repeated.equation
    first: Any = next(
        i for i, x in enumerate(operands) if jnp.issubdtype(x.dtype, jnp.floating)
    )

    def step(_: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        # one number depends on the result before, so that none can be left out
        changed, before = carry
        number = before[(0,) * before.ndim].astype(changed.dtype) * 1e-30
        changed = changed.at[(0,) * changed.ndim].set(number)
        inputs = [*operands[:first], changed, *operands[first + 1 :]]
        return changed, _evaluate(equation, inputs)

    out: Any = jax.eval_shape(partial(_evaluate, equation), operands)
    carry = operands[first], jnp.full(out.shape, last.astype(out.dtype))
    result: Array = jax.lax.fori_loop(0, repeated.times, step, carry)[1]
    return result[(0,) * result.ndim].astype(jnp.float32)


def _evaluate(equation: Any, inputs: list[Array]) -> Array:
    """An operation; a product that is transposed afterwards, in the other order.

    XLA does so too: rows times columns is the form with fast kernels.
    """
    params = dict(equation.params)
    if equation.primitive.name == "dot_general":
        (left, right), batch = params["dimension_numbers"]
        if batch == ((), ()) and left == (0,) and right == (inputs[1].ndim - 1,):
            params["dimension_numbers"] = ((right, left), batch)
            inputs = inputs[::-1]
    result: Array = equation.primitive.bind(*inputs, **params)
    return result


def limits(
    measured: Mapping[str, Any], rates: Mapping[str, float], steps: float
) -> dict[str, dict[str, float]]:
    """Limits in steps per second, each with the share of it that is reached.

    `arithmetic` is that of whole iterations without anything but products and
    functions, `stepping` that of collection without a policy, and `both` that of whole
    iterations in which the environments are stepped as well.

    Args:
      measured: result of `measure`.
      rates: steps per second of the parts of training.
      steps: steps of an iteration.
    """
    seconds = sum(
        measured[name] / (measured[f"{name}_per_second"] or float("inf"))
        for name in ("flops", "functions")
    )
    whole, bare = rates["whole"], rates["bare"]
    result = {"stepping": (bare, rates["collection"])}
    if seconds:
        arithmetic = steps / seconds
        both = 1 / (1 / bare + 1 / arithmetic)
        result |= {"arithmetic": (arithmetic, whole), "both": (both, whole)}
    return {
        name: {"steps_per_second": round(limit, 1), "reached": round(rate / limit, 4)}
        for name, (limit, rate) in result.items()
    }
