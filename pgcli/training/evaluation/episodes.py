"""Episodes of an evaluation, and errors for values in them that are not finite."""

from typing import NamedTuple

import numpy as np

from pgcli.envs.failures import NOT_FINITE_HELP
from pgcli.errors import DivergedError, EnvironmentFailed, PgcliError
from pgcli.training.rollout_faults import NOT_FINITE, OUTSIDE_HELP


class Episodes(NamedTuple):
    """E episodes; for M members, every array is [M, E]."""

    returns: np.ndarray
    lengths: np.ndarray
    first: np.ndarray
    """Hash of the first observation."""
    raw: np.ndarray
    """Returns beneath the wrappers; NaN if no wrapper may change them."""
    envs: np.ndarray
    """The environment that played it."""


def not_finite(
    field: str, n: int, step: int, where: str, problem: str = NOT_FINITE
) -> PgcliError:
    """The error for a value in an evaluation that is not finite, or no category.

    `field` of environment n, at a step from 0, or −1 for a reset.
    """
    when = f"at step {step} of the evaluation" if step >= 0 else "when it was reset"
    message = f"the {field} of environment {n} {problem} {when}"
    if field == "action":
        help = "the policy has diverged: train with a lower optimizer.lr"
        return DivergedError(message, where=where, help=help)
    help = NOT_FINITE_HELP if problem == NOT_FINITE else OUTSIDE_HELP
    return EnvironmentFailed(message, where=where, help=help)
