"""The state of physics engines that store it outside of Python.

MuJoCo: every array of `MjData` except the constraint arena, which the next step
recomputes and whose size varies. Positions and velocities alone are not enough, since
some environments read values derived by the last step. Nothing is recomputed after
restoring.

Engines are recognised by the names of their types, so that none is imported here.
"""

import functools
import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from pgcli.envs.base import EnvState

_ARENA = ("efc_", "efm_", "iefc_", "map_", "iacc", "ifrc_")
_LOOKS = ("tex_", "mat_", "light_", "cam_")  # used by rendering only


class NotRestoredError(Exception):
    """A state could not be restored; the message is one line with the reason."""


def _is(value: Any, package: str, name: str) -> bool:
    kind = type(value)
    return kind.__name__ == name and kind.__module__.split(".")[0] == package


def engine_state(value: Any) -> EnvState | None:
    """The state of an engine, or None if the value is not a known engine."""
    if _is(value, "mujoco", "MjModel"):
        return EnvState({"engine": "MjModel", "sha256": _model_digest(value)}, {})
    if _is(value, "mujoco", "MjData"):
        return _data_state(value)
    return None


def restore_engine(value: Any, state: EnvState, path: str) -> None:
    """Restores a state of the same engine and model in place, else NotRestoredError."""
    # the same engine; a model must also have the same contents
    here = engine_state(value)
    kind = state.facts["engine"]
    if here is None or here.facts["engine"] != kind:
        raise NotRestoredError(
            f"{path} is a {kind} in the checkpoint and a {type(value).__name__} here"
        )
    if kind == "MjModel" and here.facts != state.facts:
        raise NotRestoredError(
            f"the model {path} has SHA-256 {state.facts['sha256'][:12]}… in the "
            f"checkpoint and {here.facts['sha256'][:12]}… here: it was edited"
        )
    if kind == "MjData":
        _restore_data(value, state, here, path)


def _never(name: str) -> bool:
    return False


def _is_drawn(name: str) -> bool:
    return name.startswith(_LOOKS)


def _is_arena(name: str) -> bool:
    return name.startswith(_ARENA) or "island" in name


def _is_no_flag(name: str) -> bool:
    return not name.startswith("flg_")


_NAMES: dict[tuple[Any, ...], list[str]] = {}


def _named(
    value: Any, kind: type, skips: Callable[[str], bool] = _never
) -> list[tuple[str, Any]]:
    """Attributes of one type of an engine's structure, in alphabetical order."""
    key = type(value), kind, skips
    if key not in _NAMES:
        public = [name for name in sorted(dir(value)) if not name.startswith("_")]
        names = [name for name in public if not skips(name)]
        _NAMES[key] = [n for n in names if isinstance(getattr(value, n, None), kind)]
    return [(name, getattr(value, name)) for name in _NAMES[key]]


def _model_digest(model: Any) -> str:
    """SHA-256 of a model's arrays and options, without those for rendering only."""
    # the sizes of all parts come first, so that the concatenation is unambiguous
    named = _named(model, np.ndarray, _is_drawn) + _named(model.opt, np.ndarray)
    parts = [array.tobytes() for _, array in named]
    numbers = _named(model.opt, int) + _named(model.opt, float)
    head = repr((numbers, [len(part) for part in parts])).encode()
    return hashlib.sha256(head + b"".join(parts)).hexdigest()


def _by_dtype(arrays: Iterable[np.ndarray]) -> dict[str, list[np.ndarray]]:
    groups: dict[str, list[np.ndarray]] = {}
    for array in arrays:
        groups.setdefault(array.dtype.char, []).append(array)
    return groups


@functools.cache
def _layout(names: tuple[str, ...], shapes: tuple[tuple[int, ...], ...]) -> str:
    """SHA-256 of names and shapes of arrays."""
    return hashlib.sha256(repr((names, shapes)).encode()).hexdigest()


def _data_state(data: Any) -> EnvState:
    """The state of `MjData`, its more than 100 small arrays joined by dtype."""
    # flat arrays of each dtype in the order of their names
    names, arrays = zip(*_named(data, np.ndarray, _is_arena), strict=True)
    joined = {
        kind: np.concatenate([x.reshape(-1) for x in parts])
        for kind, parts in _by_dtype(arrays).items()
    }
    flags = _named(data, int, _is_no_flag)
    facts = {
        "engine": "MjData",
        "layout": _layout(names, tuple(x.shape for x in arrays)),
        "flags": {name: int(flag) for name, flag in flags},
    }
    return EnvState(facts, {**joined, "time": np.array(data.time, np.float64)})


def _restore_data(data: Any, state: EnvState, here: EnvState, path: str) -> None:
    if here.facts["layout"] != state.facts["layout"]:
        raise NotRestoredError(f"the arrays of {path} have other names or shapes here")
    # split the joined arrays at the sizes of the present ones, and write in place
    arrays = (array for _, array in _named(data, np.ndarray, _is_arena))
    for kind, parts in _by_dtype(arrays).items():
        ends = np.cumsum([array.size for array in parts])
        pieces = np.split(state.arrays[kind], ends[:-1])
        for array, piece in zip(parts, pieces, strict=True):
            array[...] = piece.reshape(array.shape)
    data.time = float(state.arrays["time"])
    for name, flag in state.facts["flags"].items():
        setattr(data, name, flag)
