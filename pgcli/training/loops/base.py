"""The interface of training loops, and the conversion of reports to rows."""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

import numpy as np

from pgcli.envs.base import EnvSpec
from pgcli.envs.failures import NOT_FINITE_HELP
from pgcli.errors import DivergedError, EnvironmentFailed
from pgcli.training.evaluation.episodes import Episodes
from pgcli.training.rollout_faults import OUTSIDE, OUTSIDE_HELP, fields
from pgcli.training.seeds import Role
from pgcli.training.step import Report
from pgcli.training.stop_signals import never

Row = dict[str, float | int | None]
Groups = dict[str, dict[str, np.ndarray]]
Stored = Mapping[str, Mapping[str, np.ndarray]]


class Loop(Protocol):
    """Iterations of collect and update, on the device or fed from the host."""

    groups: Collection[str]
    """Names of the groups of arrays in a snapshot."""
    optional_groups: Collection[str]
    """Groups that may be missing in checkpoints of older versions."""
    spec: EnvSpec
    """Spaces and limits of the environments."""
    helpers: str
    """Description of the helpers that step host environments; empty if none do."""
    parameters: int
    """Number of parameters of an agent."""

    @property
    def iteration(self) -> int:
        """Number of iterations so far."""

    @property
    def steps(self) -> int:
        """Number of environment steps so far."""

    def advance(
        self, until: int, seconds: float, stop: Callable[[], bool] = never
    ) -> list[Row]:
        """Runs at least one iteration, up to `until` steps or about `seconds`.

        Args:
          until: number of steps.
          seconds: duration.
          stop: called after each iteration of a loop or member on the host; no other
            follows if it returns True.

        Returns:
          One row of metrics per iteration.

        Raises:
          Abandoned: a request to stop ended a rollout; the next snapshot is that of
            the iteration before.
          DivergedError: actions or parameters are not finite.
          EnvironmentFailed: an environment raised an exception or broke its contract.
        """

    def evaluate(
        self, episodes: int, role: Role, seed: int, stop: Callable[[int], bool] = never
    ) -> Episodes:
        """Results of `episodes` deterministic episodes.

        For M members they are [M, episodes], and every member uses its own seed.

        Raises:
          DivergedError: an action is not finite.
          EnvironmentFailed: an environment failed, or returned a value that is not
            finite.
          EvaluationStopped: `stop`, which is called repeatedly with the number of
            episodes that have ended, returned True.
        """

    def snapshot(self) -> Groups:
        """Arrays from which a run can be resumed."""

    def restore(self, groups: Stored, where: str) -> str:
        """Continues from a snapshot; returns the level of the resume.

        If it is not `exact`, `news` contains the reason.
        """

    def news(self) -> list[str]:
        """Messages for the user since the last call."""

    def close(self) -> None:
        """Closes the environments."""


def to_words(count: int) -> np.ndarray:
    """A Python integer as (high, low) 32-bit words."""
    return np.array([count >> 32, count & 0xFFFFFFFF], np.uint32)


def from_words(words: Any) -> int:
    """The integer with the given (high, low) words."""
    return (int(words[0]) << 32) | int(words[1])


SMALLER_STEPS = "a lower optimizer.lr, or normalize.obs and normalize.reward"


def _named(field: str, problem: str, step: int, column: int) -> str:
    """Description of the value that `first_fault` returned."""
    if field == "last observation":
        return f"{field} of an episode {problem}"
    when = f"at step {step} of the rollout" if step >= 0 else "when it was reset"
    return f"{field} of environment {column} {problem} {when}"


def to_row(report: Report, iteration: int, spec: EnvSpec) -> Row:
    """The row of metrics.jsonl for a report that was fetched from the device.

    Raises:
      EnvironmentFailed: a reward or an observation is not finite, or no category of
        its space.
      DivergedError: an action or a parameter is not finite.
    """
    # values that are not finite end the run
    index, step, column = (int(x) for x in report.fault)
    if index >= 0:
        field, problem = fields(spec.obs)[index]
        message = f"the {_named(field, problem, step, column)} (iteration {iteration})"
        if field == "action":
            raise DivergedError(message, help=SMALLER_STEPS)
        help = OUTSIDE_HELP if problem == OUTSIDE else NOT_FINITE_HELP
        raise EnvironmentFailed(message, where=f"environment {spec.id}", help=help)
    if not report.finite_params:
        raise DivergedError(
            f"a network parameter is not finite in iteration {iteration}",
            help=SMALLER_STEPS,
        )

    # metrics as JSON numbers; undefined ones become None
    values = {name: float(value) for name, value in sorted(report.metrics.items())}
    skipped = values.pop("skipped", 0.0)
    return {
        "iteration": iteration,
        "steps": from_words(report.steps),
        "episodes": from_words(report.episodes),
        **{name: x if math.isfinite(x) else None for name, x in values.items()},
        "skipped": int(skipped),
    }
