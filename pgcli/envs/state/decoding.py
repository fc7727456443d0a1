"""Decodes trees of `pgcli.envs.state.encoding` into an environment of the same kind.

New values replace the old ones, and values that were shared are shared again. Objects,
engines and spaces of the environment are changed in place. An object that it does not
have here, such as the next node of a list, is made if one of the same class was changed
before. No class, function or module is looked up elsewhere by a stored name.
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
        # classes of objects changed in place; and of a value: its path and its parts,
        # by number, then those that have been made but not filled
        self._kinds: dict[str, type] = {}
        self._root, self._parts = "", dict[int, Tree]()
        self._later: collections.deque[tuple[Any, Tree, Any, str]] = collections.deque()

    def decode(self, tree: Tree, live: Any, path: str) -> Any:
        """The value of a tree; `live` is the present value at that path, or None.

        Raises a NotRestoredError if the environment has no counterpart of the value.
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
            # deep values, which are filled one after the other
            case {"parts": [first, *rest]}:
                self._root, self._parts = path, dict(enumerate(rest, 1))
                value = self.decode(first, live, path)
                while self._later:
                    self._fill(*self._later.popleft())
                return value
            case {"part": number}:
                path, tree = f"{self._root}#{number}", self._parts.pop(number)
                made = self._made[path] = self._shell(tree, live, path)
                self._later.append((made, tree, live, path))
                return made
        # a mutable value: items and attributes may refer to it by its path
        made = self._made[path] = self._shell(tree, live, path)
        self._fill(made, tree, live, path)
        return made

    def _shell(self, tree: Tree, live: Any, path: str) -> Any:
        """A mutable value; containers and objects are filled by `_fill`."""
        match tree:
            case list():
                return []
            case {"dict": _}:
                return {}
            case {"deque": _, "maxlen": maxlen}:
                return collections.deque(maxlen=maxlen)
            case {"table": stored}:
                if table_digest(live) != stored:
                    raise NotRestoredError(f"the table {path} has other values here")
                return live
            case {"object": kind}:
                return self._object(live, kind, path)
            case {"engine": kind}:
                return self._change(live, kind, path)
        return self._leaf(tree, path)

    def _fill(self, made: Any, tree: Tree, live: Any, path: str) -> None:
        """Fills a container, or sets the attributes of an object or engine."""
        match tree:
            case list():
                made += self._items(tree, live, path)
            case {"dict": pairs}:
                keys = self._items([key for key, _ in pairs], None, path + "@")
                old = live if isinstance(live, dict) else {}
                for number, (key, (_, item)) in enumerate(
                    zip(keys, pairs, strict=True)
                ):
                    made[key] = self.decode(item, old.get(key), f"{path}[{number}]")
            case {"deque": items}:
                made.extend(self._items(items, live, path))
            case {"object": _, "vars": attributes}:
                restore_vars(self, made, attributes, path)
            case {"engine": _}:
                prefix = f"{path}."
                arrays = {
                    name.removeprefix(prefix): array
                    for name, array in self._arrays.items()
                    if name.startswith(prefix)
                }
                restore_engine(made, EnvState(tree, arrays), path)

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

    def _object(self, live: Any, kind: str, path: str) -> Any:
        """The present object, or a new one if it has a class that occurred before."""
        free = name_of(type(live)) == kind and id(live) not in self._changed
        if kind in self._kinds and not free:
            return object.__new__(self._kinds[kind])
        self._kinds[kind] = type(self._change(live, kind, path))
        return live

    def _change(self, live: Any, kind: str, path: str) -> Any:
        """An object to be changed in place; two paths must not share it."""
        names = (name_of(type(live)), type(live).__name__)
        if kind not in names or (kind == names[0] and not is_ordinary(live)):
            raise _differs(path, kind, live)
        if id(live) in self._changed:
            raise NotRestoredError(
                f"{path} and {self._changed[id(live)]} are one object here but not in "
                "the checkpoint"
            )
        self._changed[id(live)] = path
        return live

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
