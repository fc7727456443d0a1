"""Conversion of an environment's exceptions into errors that name it."""

import traceback
from typing import Any

from pgcli import errors
from pgcli.envs.waiting import Abandoned
from pgcli.errors import EnvironmentFailed, PgcliError

PASSED = (PgcliError, KeyboardInterrupt, Abandoned)
"""Exceptions that are not converted: pgcli's own, Ctrl-C and other requests to stop.

Whatever else leaves foreign code is converted into an error, `Exception` or not.
"""

NOT_FINITE_HELP = (
    "`pgcli envs check` if the environment is at fault; else a lower optimizer.lr, or "
    "normalize.obs and normalize.reward"
)
"""Remedy for an observation or a reward that is not finite."""


def in_words(error: BaseException) -> str:
    """`KeyError: 'wheel'`; the class and the place if it has no text."""
    name, text = type(error).__name__, text_of(error)
    return f"{name}: {text}" if text else f"{name} at {place(error)}"


def text_of(error: BaseException) -> str | None:
    """The message of an exception, or None if formatting it raises."""
    try:
        return str(error)
    except PASSED:
        raise
    except BaseException:
        return None


def place(error: BaseException) -> str:
    """Where an error was raised: `file:line, in function`."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    return f"{last.filename}:{last.lineno}, in {last.name}"


def close_quietly(env: Any) -> None:
    """Closes an environment; exceptions are ignored, except those in `PASSED`."""
    try:
        env.close()
    except PASSED:
        raise
    except BaseException:
        return


def failed(what: str, where: str, error: BaseException) -> PgcliError:
    """An error for an exception of an environment, with its traceback as text.

    A `PgcliError` is returned unchanged; `KeyboardInterrupt` and `Abandoned` are
    raised.
    """
    if isinstance(error, PgcliError):
        return error
    if isinstance(error, PASSED):
        raise error
    return EnvironmentFailed(
        f"{what}: {in_words(error)}",
        where=where,
        trace="".join(traceback.format_exception(error)),
    )


def to_data(error: PgcliError) -> dict[str, Any]:
    """An error as plain data, for another process."""
    return {
        "kind": type(error).__name__,
        "message": error.message,
        "where": error.where,
        "help": error.help,
        "trace": error.trace,
    }


def from_data(data: Any) -> PgcliError:
    """The inverse of `to_data`."""
    # a class that this process does not define becomes an EnvironmentFailed
    kind = getattr(errors, data["kind"], EnvironmentFailed)
    context = {key: data[key] for key in ("where", "help", "trace")}
    error: PgcliError = kind(data["message"], **context)
    return error
