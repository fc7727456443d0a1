"""Trees of arrays as one vector per dtype.

A call of a compiled program takes a microsecond or two for each array that it is given
or returns, which counts if the program itself takes a hundred.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct


@dataclass(frozen=True)
class Place:
    """Where an array is in the vector of its dtype."""

    dtype: str
    start: int
    end: int
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Layout:
    """Places in a tree; equal ones are one object, which every call compares."""

    structure: Any
    places: tuple[Place, ...]


_layout = functools.cache(Layout)


class Packed(struct.PyTreeNode):
    """A tree of arrays, as vectors."""

    vectors: dict[str, Any]
    layout: Layout = struct.field(pytree_node=False)

    @property
    def shapes(self) -> Any:
        """Shapes and dtypes in place of the arrays of the tree."""
        each = (jax.ShapeDtypeStruct(x.shape, x.dtype) for x in self.layout.places)  # type: ignore[no-untyped-call]
        return jax.tree.unflatten(self.layout.structure, each)


def pack(tree: Any, xp: Any = jnp) -> Packed:
    """The tree as vectors; `xp` is `numpy` for a tree of NumPy arrays."""
    leaves, structure = jax.tree.flatten(tree)
    parts: dict[str, list[Any]] = {}
    places = []
    for leaf in leaves:
        part = parts.setdefault(str(leaf.dtype), [])
        start = sum(x.size for x in part)
        end = start + math.prod(leaf.shape)
        places.append(Place(str(leaf.dtype), start, end, tuple(leaf.shape)))
        part.append(leaf.reshape(-1))
    vectors = {dtype: xp.concatenate(part) for dtype, part in parts.items()}
    return Packed(vectors, _layout(structure, tuple(places)))


def unpack(packed: Packed, part: Callable[[Any], Any] = lambda tree: tree) -> Any:
    """The tree, or a `part` of it. NumPy arrays are views of the vectors."""
    vectors, layout = packed.vectors, packed.layout
    places = part(jax.tree.unflatten(layout.structure, layout.places))
    leaves, structure = jax.tree.flatten(places)
    views = [vectors[x.dtype][x.start : x.end].reshape(x.shape) for x in leaves]
    return jax.tree.unflatten(structure, views)
