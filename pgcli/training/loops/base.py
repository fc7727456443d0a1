"""What the two training loops have in common."""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

import numpy as np

from pgcli.envs.base import EnvSpec
from pgcli.errors import DivergedError
from pgcli.training.seeds import Role
from pgcli.training.step import FIELDS, Report
from pgcli.training.stop_signals import never

Row = dict[str, float | int | None]
Groups = dict[str, dict[str, np.ndarray]]
Stored = Mapping[str, Mapping[str, np.ndarray]]


class Loop(Protocol):
    """Iterations of collect and update, on the device or fed from the host."""

    groups: Collection[str]
    """Names of the groups of arrays in a snapshot."""
    optional_groups: Collection[str]
    """Those of them that checkpoints of older versions lack."""
    spec: EnvSpec
    """Spaces and limits of the environments."""
    helpers: str
    """Who steps host environments besides this process, in words; empty for nobody."""

    @property
    def iteration(self) -> int:
        """Iterations so far."""

    @property
    def steps(self) -> int:
        """Environment steps so far."""

    def advance(self, until: int, seconds: float) -> list[Row]:
        """Runs at least one iteration, up to `until` steps or about `seconds`.

        Returns:
          One row of metrics per iteration.

        Raises:
          DivergedError: values are not finite.
          EnvironmentFailed: an environment misbehaved.
        """

    def evaluate(
        self, episodes: int, role: Role, seed: int, stop: Callable[[], bool] = never
    ) -> tuple[np.ndarray, np.ndarray]:
        """(returns, lengths) of `episodes` deterministic episodes.

        They are [M, episodes] where members train side by side, on their own seeds.

        Raises:
          EvaluationStopped: `stop`, which is asked again and again, said so.
        """

    def snapshot(self) -> Groups:
        """All that resuming needs, as arrays."""

    def restore(self, groups: Stored, where: str) -> str:
        """Goes on from a snapshot; returns the level reached.

        Why it is less than exact is among the news.
        """

    def news(self) -> list[str]:
        """What the user should hear of, since it was last asked for."""

    def close(self) -> None:
        """Frees environments."""


def to_words(count: int) -> np.ndarray:
    """A Python integer as (high, low) 32-bit words."""
    return np.array([count >> 32, count & 0xFFFFFFFF], np.uint32)


def from_words(words: Any) -> int:
    """The integer that (high, low) words stand for."""
    return (int(words[0]) << 32) | int(words[1])


SMALLER_STEPS = "a lower optimizer.lr, or normalize.obs and normalize.reward"


def _named(field: str, step: int, column: int) -> str:
    """What `first_fault` found, in words."""
    if field == "last observation":
        return f"{field} of an episode is not finite"
    when = f"at step {step} of the rollout" if step >= 0 else "when it was reset"
    return f"{field} of environment {column} is not finite {when}"


def to_row(report: Report, iteration: int) -> Row:
    """An iteration's report, fetched, as a row of metrics.jsonl.

    Raises:
      DivergedError: actions, rewards, observations or parameters are not finite.
    """
    index, step, column = (int(x) for x in report.fault)
    if index >= 0:
        field, help = FIELDS[index], SMALLER_STEPS
        if field != "action":
            help = f"`pgcli envs check` if the environment is at fault; else {help}"
        raise DivergedError(
            f"the {_named(field, step, column)} (iteration {iteration})", help=help
        )
    if not report.finite_params:
        raise DivergedError(
            f"a network parameter is not finite in iteration {iteration}",
            help=SMALLER_STEPS,
        )
    values = {name: float(value) for name, value in sorted(report.metrics.items())}
    skipped = values.pop("skipped", 0.0)
    return {
        "iteration": iteration,
        "steps": from_words(report.steps),
        "episodes": from_words(report.episodes),
        **{name: x if math.isfinite(x) else None for name, x in values.items()},
        "skipped": int(skipped),
    }
