"""Arithmetic of a traced program: its matrix products and transcendental functions.

Counted in the jaxpr, with the lengths of its scans, so that nothing is run or compiled.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from jax.extend.core import ClosedJaxpr, Jaxpr
from jax.interpreters import partial_eval

PRODUCTS = frozenset({"dot_general", "conv_general_dilated"})
FUNCTIONS = frozenset(
    {"acos", "asin", "atan", "atan2", "cos", "cosh", "erf", "erf_inv", "erfc", "exp"}
    | {"exp2", "expm1", "lgamma", "log", "log1p", "logistic", "pow", "sin", "sinh"}
    | {"tan", "tanh"}
)


class Operation(NamedTuple):
    """An equation of a program and how often it is evaluated."""

    equation: Any
    times: int

    @property
    def work(self) -> int:
        """Floating-point operations of all evaluations, or values of a function."""
        return self.times * work(self.equation)


def work(equation: Any) -> int:
    """Floating-point operations of a product; otherwise the number of results."""
    results: int = math.prod(equation.outvars[0].aval.shape)
    name, shapes = equation.primitive.name, [v.aval.shape for v in equation.invars]
    if name == "dot_general":
        # a multiplication and an addition for each contracted pair
        (contracted, _), _ = equation.params["dimension_numbers"]
        results *= 2 * math.prod(shapes[0][axis] for axis in contracted)
    elif name == "conv_general_dilated":
        # the kernel [out, in, *window], without its axis of outputs
        outputs = equation.params["dimension_numbers"].rhs_spec[0]
        results *= 2 * math.prod(shapes[1]) // shapes[1][outputs]
    return results


def operations(program: ClosedJaxpr, times: int = 1) -> list[Operation]:
    """Products and transcendental functions of a program, equal ones together.

    A scan counts with its length, of a conditional the branch with most operations,
    and the body of a loop of unknown length once.

    Args:
      program: a program, as of `jax.make_jaxpr`.
      times: how often it runs.
    """
    # the compiler removes what no result depends on
    every = [True] * len(program.jaxpr.outvars)
    needed, _ = partial_eval.dce_jaxpr(program.jaxpr, every)
    return merged(_walk(needed, times))


def merged(parts: Iterable[Operation]) -> list[Operation]:
    """Operations with the same shapes and parameters as one, the largest first."""
    together: dict[tuple[Any, ...], Operation] = {}
    for equation, times in parts:
        shapes = tuple(v.aval.str_short() for v in equation.invars)
        key = (equation.primitive.name, shapes, str(equation.params))
        before = together.get(key, Operation(equation, 0))
        together[key] = before._replace(times=before.times + times)
    return sorted(together.values(), key=lambda each: -each.work)


def of_kind(parts: Iterable[Operation], names: frozenset[str]) -> list[Operation]:
    """The operations with one of the names."""
    return [each for each in parts if each.equation.primitive.name in names]


def _walk(program: ClosedJaxpr | Jaxpr, times: int) -> Iterator[Operation]:
    for equation in program.eqns:
        name, params = equation.primitive.name, equation.params
        if name in PRODUCTS | FUNCTIONS:
            yield Operation(equation, times)
        # its programs: steps of a scan, a part on every device, one branch of several
        if name == "scan":
            count = times * params["length"]
        else:
            count = times * params["mesh"].size if name == "shard_map" else times
        inner = [list(_walk(part, count)) for part in _programs(params.values())]
        if name == "cond":
            inner = [max(inner, key=lambda branch: sum(each.work for each in branch))]
        for part in inner:
            yield from part


def _programs(values: Iterable[Any]) -> Iterator[ClosedJaxpr | Jaxpr]:
    """The programs among the parameters of an equation."""
    for value in values:
        if isinstance(value, ClosedJaxpr | Jaxpr):
            yield value
        elif isinstance(value, tuple | list):
            yield from _programs(value)
