"""States of environments as named arrays, for checkpoints and other processes.

Array names begin with the number of the environment; all JSON is in one array, as
UTF-8 text.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from pgcli.envs.base import EnvState
from pgcli.errors import CheckpointError

TEXT = "json"


def pack(facts: Mapping[str, Any], states: list[EnvState]) -> dict[str, np.ndarray]:
    """States and additional facts as arrays by name."""
    arrays = {
        f"{number}/{name}": np.asarray(array)
        for number, state in enumerate(states)
        for name, array in state.arrays.items()
    }
    # the text lists every array with its dtype and shape
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
    """The inverse of `pack`: (facts, states).

    Raises:
      CheckpointError: an array is missing, unexpected, or of another shape or dtype.
    """
    # compare the arrays with their description
    facts, states, kinds = _parse(packed, where)
    actual = {name: _kind(array) for name, array in packed.items() if name != TEXT}
    for name in sorted({*kinds, *actual}):
        stored, here = kinds.get(name), actual.get(name)
        if stored != here:
            raise CheckpointError(
                f"the checkpoint lacks {name} of its environments"
                if here is None
                else f"{name} of the environments is {here} in the checkpoint, but "
                f"{stored or 'absent'} in its description",
                where=where,
            )
    # arrays of each environment, without its number
    parts: list[dict[str, np.ndarray]] = [{} for _ in states]
    for name in actual:
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
            "the states of the environments are not in the format of pgcli", where=where
        )
    return facts, states, kinds


def _kind(array: np.ndarray) -> str:
    return f"{array.dtype.name}{list(array.shape)}"
