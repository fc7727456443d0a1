"""Decodes trees of `pgcli.envs.state.encoding` into an environment of the same kind.

New values replace the old ones, and values that were shared are shared again. Objects,
engines and spaces of the environment are changed in place. No class, function or module
is looked up by a stored name.
"""

import collections
import random
import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pgcli.envs.base import EnvState
from pgcli.envs.state.encoding import (
    BIT_GENERATORS,
    SCALARS,
    Encoder,
    NotPlainError,
    Tree,
)
from pgcli.envs.state.physics_engines import NotRestoredError, restore_engine
from pgcli.envs.state.value_kinds import (
    is_ordinary,
    is_space,
    member_name,
    name_of,
    space_parts,
    static_name,
    table_digest,
)


class Decoder:
    """Decodes the trees of one environment, in the order in which they were encoded."""

    def __init__(self, levels: Sequence[Any], arrays: Mapping[str, np.ndarray]) -> None:
        """A decoder for an environment, given with its wrappers, outermost first."""
        self._levels = levels
        self._numbers = {id(level): number for number, level in enumerate(levels)}
        self._arrays = arrays
        # decoded values by path, and paths of objects changed in place by id
        self._made: dict[str, Any] = {}
        self._changed: dict[int, str] = {}

    def decode(self, tree: Tree, live: Any, path: str) -> Any:
        """The value of a tree.

        Args:
          tree: the encoded value.
          live: the present value of the environment at that path, or None.
          path: the path of the value.

        Raises:
          NotRestoredError: the environment has no counterpart of the encoded value.
        """
        match tree:
            # immutable values
            case None | bool() | int() | str() | float():
                return tree
            case {"float": text}:
                return float(text)
            case {"bytes": text}:
                return bytes.fromhex(text)
            case {"tuple": items}:
                return tuple(self._items(items, live, path))
            case {"scalar": ["str", text]}:
                return np.str_(text)
            case {"scalar": [kind, item]} if kind in SCALARS:
                return np.dtype(kind).type(self.decode(item, None, path))
            # references: a wrapper, an earlier value, or a constant of the environment
            case {"level": number}:
                return self._levels[number]
            case {"same": place}:
                return self._made[place]
            case {"member": [kind, name]}:
                if live is None or name_of(type(live)) != kind:
                    raise _differs(path, kind, live)
                return type(live).__members__[name]
            case {"static": name}:
                return self._still(tree, name, live, path)
            case {"space": parts}:
                return self._space(parts, live, path)
        return self._once(tree, live, path)

    def _once(self, tree: Tree, live: Any, path: str) -> Any:
        """A mutable value; the references to it have its path."""
        match tree:
            # containers are stored before their items, which may refer to them
            case list():
                made: Any = []
                self._made[path] = made
                made += self._items(tree, live, path)
                return made
            case {"table": stored}:
                if table_digest(live) != stored:
                    raise NotRestoredError(f"the table {path} has other values here")
                self._made[path] = live
                return live
            case {"dict": pairs}:
                self._made[path] = made = {}
                keys = self._items([key for key, _ in pairs], None, path + "@")
                old = live if isinstance(live, dict) else {}
                for number, (key, (_, item)) in enumerate(
                    zip(keys, pairs, strict=True)
                ):
                    made[key] = self.decode(item, old.get(key), f"{path}[{number}]")
                return made
            case {"deque": items, "maxlen": maxlen}:
                self._made[path] = made = collections.deque(maxlen=maxlen)
                made.extend(self._items(items, live, path))
                return made
            # objects and engines of the environment, changed in place
            case {"object": kind, "vars": attributes}:
                self._change(live, kind, path)
                restore_vars(self, live, attributes, path)
                return live
            case {"engine": kind}:
                self._change(live, kind, path)
                prefix = f"{path}."
                arrays = {
                    name.removeprefix(prefix): array
                    for name, array in self._arrays.items()
                    if name.startswith(prefix)
                }
                restore_engine(live, EnvState(tree, arrays), path)
                return live
        self._made[path] = made = self._leaf(tree, path)
        return made

    def _leaf(self, tree: Tree, path: str) -> Any:
        """A new array or random number generator."""
        match tree:
            # raw bytes of other dtypes, then arrays in Fortran and in C order
            case {"array": name, "raw": [kind, shape], "order": order}:
                flat = np.frombuffer(self._arrays[name].tobytes(), kind)
                return flat.reshape(shape, order=order).copy(order)
            case {"array": name, "order": "F"}:
                return self._arrays[name].copy().T
            case {"array": name}:
                return self._arrays[name].copy()
            # generators of Python and NumPy
            case {"random": state}:
                own = random.Random()
                own.setstate(self.decode(state, None, path))
                return own
            case {"random_state": state}:
                bits = self.decode(state, None, path)
                legacy = np.random.RandomState(_bit_generator(bits))
                legacy.set_state(bits)
                return legacy
            case {"generator": state}:
                bits = self.decode(state, None, path)
                generator = np.random.Generator(_bit_generator(bits))
                generator.bit_generator.state = bits
                return generator
        raise ValueError(f"{path} is {tree!r:.60}")

    def _items(self, trees: Sequence[Tree], live: Any, path: str) -> list[Any]:
        sequence = isinstance(live, list | tuple | collections.deque)
        old = live if sequence and len(live) == len(trees) else [None] * len(trees)
        return [
            self.decode(tree, old[i], f"{path}[{i}]") for i, tree in enumerate(trees)
        ]

    def _change(self, live: Any, kind: str, path: str) -> None:
        """Records that an object is changed in place; two paths must not share it."""
        names = (name_of(type(live)), type(live).__name__)
        if kind not in names or (kind == names[0] and not is_ordinary(live)):
            raise _differs(path, kind, live)
        if id(live) in self._changed:
            raise NotRestoredError(
                f"{path} and {self._changed[id(live)]} are one object here but not in "
                "the checkpoint"
            )
        self._changed[id(live)] = path
        self._made[path] = live

    def _still(self, tree: Tree, name: str, live: Any, path: str) -> Any:
        # the present value must be the same constant; a function also has its closure
        here = static_name(live, self._numbers)
        if isinstance(live, types.FunctionType):
            here = f"{live.__module__}.{live.__qualname__}"
            try:
                closure = Encoder(self._levels).closure(live, path)
            except NotPlainError as error:
                raise NotRestoredError(str(error)) from None
            if here == name and closure != tree.get("closure"):
                raise NotRestoredError(f"the function {path} refers to other values")
        if here != name:
            raise _differs(path, name, live)
        return live

    def _space(self, parts: Sequence[Tree], live: Any, path: str) -> Any:
        own = list(space_parts(live)) if is_space(live) else []
        if len(own) != len(parts):
            raise _differs(path, f"space of {len(parts)} parts", live)
        for number, (part, tree) in enumerate(zip(own, parts, strict=True)):
            part._np_random = self.decode(tree, None, f"{path}[{number}]")
        return live


def restore_vars(
    decoder: Decoder,
    owner: Any,
    attributes: Mapping[str, Tree],
    path: str,
    but: frozenset[str] = frozenset(),
) -> None:
    """Sets exactly these attributes of an object; those named in `but` stay.

    Raises:
      NotRestoredError: the object has further attributes, or values of other kinds.
    """
    live = {name: value for name, value in vars(owner).items() if name not in but}
    unknown = sorted(live.keys() - attributes.keys())
    if unknown:
        raise NotRestoredError(
            f"{path} has an attribute that is not in the checkpoint: "
            + ", ".join(unknown[:4])
        )
    # object.__setattr__ bypasses a __setattr__ of the class
    for name, tree in attributes.items():
        value = decoder.decode(tree, live.get(name), f"{path}.{name}")
        if name not in live or value is not live[name]:
            object.__setattr__(owner, name, value)


def _bit_generator(state: Mapping[str, Any]) -> Any:
    name = state["bit_generator"]
    if name not in BIT_GENERATORS:
        raise ValueError(f"{name!r:.60} is not a bit generator")
    return getattr(np.random, name)()


def _differs(path: str, stored: str, live: Any) -> NotRestoredError:
    here = member_name(live) or name_of(type(live))
    return NotRestoredError(f"{path} is {stored} in the checkpoint and {here} here")
