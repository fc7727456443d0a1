"""Trees of arrays as vectors: nothing is lost, and views outlive a donation."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pgcli.arrays.fetch import fetch
from pgcli.arrays.packing import pack, unpack
from pgcli.training.programs import results

TREE = {
    "kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "count": np.array(7, np.int32),
    "bias": np.array([-0.0, np.nan], np.float32),
    "none": None,
    "words": np.array([1, 2**32 - 1], np.uint32),
    "empty": np.zeros((0, 4), np.float32),
    "flag": np.array(True),
}


def assert_same(tree: Any, other: Any) -> None:
    assert jax.tree.structure(tree) == jax.tree.structure(other)
    for x, y in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        assert (x.shape, x.dtype, x.tobytes()) == (y.shape, y.dtype, y.tobytes())


def test_unpack_is_the_inverse_of_pack() -> None:
    packed = pack(TREE, np)
    assert sorted(packed.vectors) == ["bool", "float32", "int32", "uint32"]
    assert_same(unpack(packed), TREE)
    assert_same(unpack(packed, lambda tree: tree["words"]), TREE["words"])
    # in a program, and from it, with the same layout
    again = fetch(jax.jit(lambda packed: pack(unpack(packed)))(packed))
    assert again.layout is packed.layout
    assert not any(x.aval.weak_type for x in jax.tree.leaves(jax.jit(pack)(TREE)))
    assert_same(unpack(again), TREE)


def test_packed_shapes_are_kept_as_json() -> None:
    shapes = jax.eval_shape(pack, TREE)
    described = json.loads(json.dumps(results.to_json(shapes)))
    again = results.from_json(described)
    assert again.layout is shapes.layout
    assert {k: (x.shape, x.dtype) for k, x in again.vectors.items()} == {
        k: (x.shape, x.dtype) for k, x in shapes.vectors.items()
    }


def test_views_keep_their_values_if_the_vectors_are_donated() -> None:
    add = jax.jit(lambda x: jax.tree.map(lambda y: y + 1, x), donate_argnums=0)
    state = add(pack({"x": np.zeros(4096, np.float32)}, np))
    view = unpack(fetch(state))["x"]
    for _ in range(3):
        state = add(state)
    np.testing.assert_array_equal(view, np.ones(4096, np.float32))
    np.testing.assert_array_equal(unpack(fetch(state))["x"], jnp.full(4096, 4.0))
