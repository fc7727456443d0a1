"""Encodes values of environments as JSON and named arrays.

A value without a plain form raises an error with its path. See
`pgcli.envs.state.decoding` for the inverse.

Values:
  none, booleans, integers, finite floats, strings and lists are encoded as in JSON;
  everything else is an object with one of the keys below.

  float, bytes, scalar, tuple, dict, deque, array: values of these types.
  generator, random_state, random: random number generators, by their state.
  engine: the state of a physics engine (`pgcli.envs.state.physics_engines`).
  object: the attributes of an object of an ordinary Python class.
  table: a large mapping of numbers and strings, by its SHA-256; it must not differ.
  member: a member of an enumeration, by name.
  space: the random numbers of a Gymnasium space, which is otherwise constant.
  static: a function, class or module; the restored environment must have the same.
  level: the environment or one of its wrappers, by number.
  same: a reference to an object that occurred before, by its path.
  parts, part: a deep value, without its depth. The first part is the value; `part`
    stands for another one, by number.
"""

import collections
import contextlib
import hashlib
import itertools
import json
import math
import random
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from pgcli.envs.failures import PASSED, in_words
from pgcli.envs.state.physics_engines import engine_state
from pgcli.envs.state.value_kinds import (
    is_ordinary,
    is_random,
    is_space,
    member_name,
    name_of,
    space_parts,
    static_name,
    table_digest,
)

Tree = Any
"""Values that JSON can represent."""

SCALARS = frozenset(
    {"bool", "float16", "float32", "float64"}
    | {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
)
BIT_GENERATORS = frozenset({"PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"})

CONSTRUCTION = frozenset(
    {"env", "spec", "_cached_spec", "_saved_kwargs"}
    | {"_ezpickle_args", "_ezpickle_kwargs"}
)
"""Attributes that the construction of an environment determines."""

MAX_VALUES = 20_000
MAX_BYTES = 16 * 2**20
"""Limits of a plain form; a data set, for instance, exceeds them."""

MAX_BITS = 4096
"""Size of the largest integer; JSON has a limit, too."""

MAX_DEPTH = 32
"""Depth below which a value is a part, so that the recursion limit ends no chain."""


class NotPlainError(Exception):
    """A value of an environment has no plain form; the message is one line."""


def dump(tree: Tree) -> str:
    """The text of a tree; equal trees have equal texts."""
    return json.dumps(tree, allow_nan=False, separators=(",", ":"))


class Encoder:
    """Encodes the values of one environment; their arrays are in `arrays`."""

    def __init__(self, levels: Sequence[Any]) -> None:
        """An encoder for an environment, given with its wrappers, outermost first."""
        self.arrays: dict[str, np.ndarray] = {}
        self._levels = {id(level): number for number, level in enumerate(levels)}
        # id -> (path, value); (start, end, path) of each array in memory
        self._seen: dict[int, tuple[str, Any]] = {}
        self._memory: list[tuple[int, int, str]] = []
        self._in_container = 0
        self._values = 0
        self._bytes = 0
        # (path of the whole value, number of its parts, parts to be encoded)
        self._root, self._parts, self._depth = "", 0, 0
        self._later: collections.deque[tuple[Any, str, int]] = collections.deque()

    def encode(self, value: Any, path: str) -> Tree:
        """The value as a tree; a NotPlainError if it has no plain form."""
        self._root, self._parts, self._depth = path, 0, 0
        try:
            parts = [self._value(value, path)]
            while self._later:
                self._depth = 0
                part, own, self._in_container = self._later.popleft()
                parts.append(self._contents(part, own))
        except (NotPlainError, *PASSED):
            raise
        except BaseException as error:
            raise NotPlainError(f"{path} raised {in_words(error)}") from error
        finally:
            self._in_container = 0
        return {"parts": parts} if len(parts) > 1 else parts[0]

    def _value(self, value: Any, path: str) -> Tree:
        # the exact type: a subclass may have further state
        kind = type(value)
        self._values += 1
        if self._values > MAX_VALUES:
            raise NotPlainError(f"{path} is one of more than {MAX_VALUES:,} values")
        if value is None or kind in (bool, str):
            return value
        if kind is int:
            if value.bit_length() > MAX_BITS:
                raise NotPlainError(f"{path} has {value.bit_length():,} bits")
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is bytes:
            return {"bytes": value.hex()}
        if kind is tuple:
            return {"tuple": self._items(value, path)}
        if isinstance(value, np.generic):
            return self._scalar(value, path)
        # references and constants before objects with contents
        if id(value) in self._levels:
            return {"level": self._levels[id(value)]}
        member = member_name(value)
        if member is not None:
            return {"member": [name_of(kind), member]}
        return self._still(value, path) or self._once(value, path)

    def check_memory(self) -> None:
        """Raises a NotPlainError if arrays share memory: restored copies would not."""
        # intervals sorted by their start overlap if two neighbours do
        ordered = sorted(self._memory)
        for (_, end, one), (start, _, other) in itertools.pairwise(ordered):
            if start < end:
                raise NotPlainError(f"{one} and {other} share memory")

    def _once(self, value: Any, path: str) -> Tree:
        """A mutable value; later occurrences refer to the first."""
        if id(value) in self._seen:
            return {"same": self._seen[id(value)][0]}
        deep = self._depth >= MAX_DEPTH
        if deep:
            self._parts += 1
            path = f"{self._root}#{self._parts}"
        # the value is kept, so that no other object gets its id
        self._seen[id(value)] = (path, value)
        if deep:
            self._later.append((value, path, self._in_container))
            return {"part": self._parts}
        depth, self._depth = self._depth, self._depth + 1
        tree = self._contents(value, path)
        self._depth = depth
        return tree

    def _contents(self, value: Any, path: str) -> Tree:
        # containers
        kind = type(value)
        if kind is list:
            return self._items(value, path)
        if kind is dict:
            table = table_digest(value)
            if table is not None:
                return {"table": table}
            keys, values = self._items(value, path + "@"), value.values()
            pairs = zip(keys, self._items(values, path), strict=True)
            return {"dict": [list(pair) for pair in pairs]}
        if kind is collections.deque:
            return {"deque": self._items(value, path), "maxlen": value.maxlen}
        # arrays, generators and engines
        if isinstance(value, np.ndarray):
            return self._array(value, path)
        if is_random(value):
            return self._random(value, path)
        engine = engine_state(value)
        if engine is not None:
            for name, array in engine.arrays.items():
                self.arrays[f"{path}.{name}"] = array
            return dict(engine.facts)
        # objects, except in containers: a new environment may not have them there
        if is_ordinary(value) and not self._in_container:
            return {
                "object": name_of(kind),
                "vars": {
                    name: self._value(item, f"{path}.{name}")
                    for name, item in sorted(vars(value).items())
                },
            }
        raise NotPlainError(f"{path} is a {name_of(kind)}")

    def _items(self, values: Iterable[Any], path: str) -> list[Tree]:
        self._in_container += 1
        items = [self._value(x, f"{path}[{i}]") for i, x in enumerate(values)]
        self._in_container -= 1
        return items

    def _scalar(self, value: np.generic, path: str) -> Tree:
        if isinstance(value, np.str_):
            return {"scalar": ["str", str(value)]}
        if value.dtype.name not in SCALARS:
            raise NotPlainError(f"{path} is a {name_of(type(value))}")
        return {"scalar": [value.dtype.name, self._value(value.item(), path)]}

    def _array(self, value: np.ndarray, path: str) -> Tree:
        contiguous = value.flags.c_contiguous or value.flags.f_contiguous
        plain = value.dtype.kind in "biufcSU" and value.dtype.isnative
        if type(value) is not np.ndarray or not plain or not contiguous:
            raise NotPlainError(
                f"{path} is a {type(value).__name__} of {value.dtype} with strides "
                f"{value.strides}"
            )
        self._own(value, path)
        # dtypes that checkpoints support, then others as raw bytes
        if value.dtype.name in SCALARS:
            if value.flags.c_contiguous:
                self.arrays[path] = value.copy()
                return {"array": path}
            self.arrays[path] = value.T.copy()
            return {"array": path, "order": "F"}
        order: Literal["C", "F"] = "C" if value.flags.c_contiguous else "F"
        self.arrays[path] = np.frombuffer(value.tobytes(order), np.uint8).copy()
        raw = [value.dtype.str, list(value.shape)]
        return {"array": path, "order": order, "raw": raw}

    def _own(self, value: np.ndarray, path: str) -> None:
        """Records the memory of an array; raises if another object owns it."""
        base: Any = value.base
        while isinstance(base, np.ndarray):
            base = base.base
        # a memoryview of nanobind owns an array that a C++ function returned
        returned = (
            isinstance(base, memoryview) and type(base.obj).__name__ == "nb_ndarray"
        )
        if base is not None and not isinstance(base, bytes) and not returned:
            raise NotPlainError(f"{path} is a view of a {name_of(type(base))}")
        # the total size, then the interval of addresses
        self._bytes += value.nbytes
        if self._bytes > MAX_BYTES:
            size = f"{self._bytes / 2**20:.0f} MiB"
            raise NotPlainError(f"{path} and the arrays before it have {size}")
        if value.nbytes:
            start = value.__array_interface__["data"][0]
            self._memory.append((start, start + value.nbytes, path))

    def _random(self, value: Any, path: str) -> Tree:
        self._depth = 0  # it is decoded at once, so its state has no parts
        if isinstance(value, random.Random):
            return {"random": self._value(value.getstate(), path)}
        if isinstance(value, np.random.RandomState):
            return {"random_state": self._value(value.get_state(legacy=False), path)}
        bits = value.bit_generator
        if type(bits).__name__ not in BIT_GENERATORS:
            raise NotPlainError(f"{path} is a generator of {name_of(type(bits))}")
        if getattr(bits.seed_seq, "n_children_spawned", 0):
            raise NotPlainError(f"{path} is a generator that has spawned others")
        return {"generator": self._value(bits.state, path)}

    def _still(self, value: Any, path: str) -> Tree:
        """A constant: a function, class, module or space; None for anything else."""
        name = static_name(value, self._levels)
        if name is not None:
            return {"static": name}
        if isinstance(value, types.FunctionType):
            name = f"{value.__module__}.{value.__qualname__}"
            return {"static": name, "closure": self.closure(value, path)}
        if is_space(value):
            return {
                "space": [
                    self._value(getattr(part, "_np_random", None), f"{path}[{i}]")
                    for i, part in enumerate(space_parts(value))
                ]
            }
        return None

    def closure(self, function: types.FunctionType, path: str) -> str:
        """SHA-256 of what a function refers to; a NotPlainError if that is mutable."""
        # enclosed variables that are set, defaults, attributes and keyword defaults
        held = []
        for cell in function.__closure__ or ():
            with contextlib.suppress(ValueError):
                held.append(cell.cell_contents)
        held += [*(function.__defaults__ or ()), *vars(function).values()]
        held += (function.__kwdefaults__ or {}).values()
        own = Encoder([])
        own._levels = self._levels
        for number, value in enumerate(held):
            self._refuse_mutable(value, f"{path}({number})")
        trees = [own.encode(x, f"({i})") for i, x in enumerate(held)]
        self._memory += own._memory
        return digest(trees, own.arrays)

    def _refuse_mutable(self, value: Any, path: str) -> None:
        """Raises if a value that a function refers to is mutable."""
        if type(value) is tuple:
            for item in value:
                self._refuse_mutable(item, path)
            return
        plain = value is None or type(value) in (bool, int, str, float, bytes)
        if plain or isinstance(value, np.generic | np.ndarray | types.FunctionType):
            return
        if id(value) in self._levels or static_name(value, self._levels) is not None:
            return
        if member_name(value) is None and not is_space(value):
            raise NotPlainError(f"{path} of a function is a {name_of(type(value))}")


def digest(tree: Tree, arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of a tree and its arrays."""
    total = hashlib.sha256(dump(tree).encode())
    for name, array in sorted(arrays.items()):
        total.update(f"{name}{array.dtype}{array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()
