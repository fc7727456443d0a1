"""Conversion of an environment's exceptions into errors that name it."""

import traceback
from typing import Any

from pgcli import errors
from pgcli.errors import EnvironmentFailed, PgcliError

CAUGHT = (Exception, SystemExit)
"""Exceptions of foreign code that are converted into errors; Ctrl-C is not one."""


def in_words(error: BaseException) -> str:
    """`KeyError: 'wheel'`; only the class if its message cannot be formatted."""
    name, text = type(error).__name__, text_of(error)
    return name if text is None else f"{name}: {text}"


def text_of(error: BaseException) -> str | None:
    """The message of an exception, or None if formatting it raises."""
    try:
        return str(error)
    except CAUGHT:
        return None


def failed(what: str, where: str, error: BaseException) -> PgcliError:
    """An error for an exception of an environment, with its traceback as text.

    Args:
      what: what failed and when, such as `environment 1 failed at its step 4`.
      where: the environment's id and seed.
      error: the exception; a `PgcliError` is returned unchanged.
    """
    if isinstance(error, PgcliError):
        return error
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
