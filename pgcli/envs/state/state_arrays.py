"""States of environments as arrays alone: for a checkpoint, or from process to process.

Arrays are named by environment; all that is JSON is one array, its text in UTF-8.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from pgcli.envs.base import EnvState
from pgcli.errors import CheckpointError

TEXT = "json"


def pack(facts: Mapping[str, Any], states: list[EnvState]) -> dict[str, np.ndarray]:
    """States, and facts beside them, as arrays by name."""
    arrays = {
        f"{number}/{name}": np.asarray(array)
        for number, state in enumerate(states)
        for name, array in state.arrays.items()
    }
    tree = {
        "facts": facts,
        "states": [state.facts for state in states],
        "arrays": {name: _kind(array) for name, array in sorted(arrays.items())},
    }
    text = json.dumps(tree, allow_nan=False, separators=(",", ":"))
    return {TEXT: np.frombuffer(text.encode(), np.uint8).copy(), **arrays}


def unpack(
    packed: Mapping[str, np.ndarray], where: str
) -> tuple[dict[str, Any], list[EnvState]]:
    """The facts and states that `pack` was given.

    Raises:
      CheckpointError: an array is missing, left over, or of another shape or dtype.
    """
    facts, states, kinds = _parse(packed, where)
    found = {name: _kind(array) for name, array in packed.items() if name != TEXT}
    for name in sorted({*kinds, *found}):
        stored, here = kinds.get(name), found.get(name)
        if stored != here:
            raise CheckpointError(
                f"the checkpoint lacks {name} of its environments"
                if here is None
                else f"{name} of the environments is {here} in the checkpoint; its "
                f"description says {stored or 'that there is none'}",
                where=where,
            )
    parts: list[dict[str, np.ndarray]] = [{} for _ in states]
    for name in found:
        number, _, own = name.partition("/")
        parts[int(number)][own] = packed[name]
    return facts, [
        EnvState(state, part) for state, part in zip(states, parts, strict=True)
    ]


def _parse(
    packed: Mapping[str, np.ndarray], where: str
) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, str]]:
    if TEXT not in packed:
        raise CheckpointError(
            f"the checkpoint lacks {TEXT}, which describes its environments",
            where=where,
        )
    try:
        tree = json.loads(packed[TEXT].tobytes().decode())
        facts, states, kinds = tree["facts"], tree["states"], tree["arrays"]
        numbers = {int(name.partition("/")[0]) for name in kinds}
        mappings = [facts, kinds, *states]
        sound = all(isinstance(item, dict) for item in mappings) and all(
            0 <= number < len(states) for number in numbers
        )
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        sound = False
    if not sound:
        raise CheckpointError(
            "the states of the environments are not as pgcli writes them", where=where
        )
    return facts, states, kinds


def _kind(array: np.ndarray) -> str:
    return f"{array.dtype.name}{list(array.shape)}"
