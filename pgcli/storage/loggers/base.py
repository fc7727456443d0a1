"""The interface of a logger, and the run that it logs."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from pgcli.config.dump import flat, flow
from pgcli.config.members import config_of, members
from pgcli.config.schema import RunConfig
from pgcli.storage.loggers.write_errors import Warn

Outcome = Literal["finished", "stopped", "killed"]
"""End of the process of a run: with a result, without one, or not by itself."""


class LoggedMember(NamedTuple):
    """A member of a run, which loggers show as a run of its own, or the only one.

    Attributes:
      name: text such as `seed=3,optimizer.lr=0.001`; empty for the only one.
      label: keys that identify its rows.
    """

    name: str
    label: Mapping[str, Any]
    config: RunConfig

    def hyperparameters(self) -> dict[str, float | int | bool | str]:
        """The configuration by dotted path; values that are not scalars as text."""
        return {
            key: value if isinstance(value, float | int | str) else flow(value)
            for key, value in flat(self.config).items()
        }


@dataclass(frozen=True)
class LoggedRun:
    """A run as its loggers see it.

    Attributes:
      after_step: the step at which the run was resumed, after which logged rows are
        dropped; None for a new run.
      ids: identifiers of the members at an external service, which a logger adds to.
    """

    path: Path
    config: RunConfig
    after_step: int | None = None
    ids: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.path.name

    def project(self, variable: str) -> str:
        """The project that the run belongs to; an environment variable may name it."""
        return self.config.log.project or os.environ.get(variable) or "pgcli"

    @cached_property
    def members(self) -> list[LoggedMember]:
        """The members, in the order of their indices; a single run is one."""
        if not self.config.has_members:
            return [LoggedMember("", {}, self.config)]
        return [
            LoggedMember(
                ",".join(
                    f"{key}={value:g}"
                    for key, value in {"seed": each.seed, **each.values}.items()
                ),
                each.label,
                config_of(self.config, each),
            )
            for each in members(self.config)
        ]


class Logger(Protocol):
    """An additional destination for metrics, at `where`. It never stops training."""

    where: str

    def __init__(self, run: LoggedRun, warn: Warn) -> None:
        """Opens the logger; `warn` gets messages about problems."""

    def write(self, member: int, step: int, values: Mapping[str, float]) -> None:
        """Logs numbers of a member by their grouped names."""

    def flush(self) -> None:
        """Called after some writes."""

    def finish(self, outcome: Outcome) -> None:
        """Closes the logger; the last values, and `curve.svg`, are written."""
