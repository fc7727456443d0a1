"""The metadata of a run in its checkpoints, checked before any of it is used.

The hashes of a checkpoint show that it is as it was written, not that pgcli wrote it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from annotated_types import Ge
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from pgcli.errors import CheckpointError
from pgcli.storage.checkpoint import Checkpoint

Count = Annotated[int, Ge(0)]
Row = Mapping[str, float | None]


@dataclass(frozen=True)
class _Best:
    checkpoint: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
    score: float


@dataclass(frozen=True)
class _Members:
    diverged: Mapping[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], str]
    skipped: Mapping[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], Count]
    last_rows: tuple[Row, ...]


@dataclass(frozen=True)
class _RunMeta:
    """Keys that pgcli uses; older versions did not write those with a default."""

    config: Mapping[str, Any]
    env: Mapping[str, Any]
    iteration: Count
    steps: Count
    best: _Best | None
    last_row: Row
    skipped: Count
    log_offsets: Mapping[Literal["metrics", "eval", "timing"], Count]
    members: _Members | None = None
    accelerator: Mapping[str, Any] | None = None
    since_best: Count = 0
    evaluation_due: bool = False
    env_modules: tuple[str, ...] | None = None
    network_modules: tuple[str, ...] = ()


@cache
def _adapter() -> TypeAdapter[_RunMeta]:
    _RunMeta.__pydantic_config__ = ConfigDict(strict=True)  # type: ignore[attr-defined]
    return TypeAdapter(_RunMeta)


def check_meta(stored: Checkpoint) -> None:
    """Raises a CheckpointError for metadata that pgcli does not write."""
    try:
        # as JSON: lists of Python are no tuples in strict mode
        _adapter().validate_json(json.dumps(stored.meta))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        path = ".".join(map(str, first["loc"]))
        raise not_a_run(f"{path}: {first['msg']}", stored) from None


def not_a_run(reason: object, stored: Checkpoint) -> CheckpointError:
    """The error for a checkpoint that verifies, with content that pgcli never wrote."""
    return CheckpointError(
        f"it is not a checkpoint of a run: {reason}",
        where=str(stored.path),
        help="use another checkpoint of the run",
    )
