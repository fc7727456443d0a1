"""What an environment's own failure is turned into: an error that names it."""

import traceback
from typing import Any

from pgcli import errors
from pgcli.errors import EnvironmentFailed, PgcliError

CAUGHT = (Exception, SystemExit)
"""What foreign code may raise and must not end the program with: not Ctrl-C."""


def in_words(error: BaseException) -> str:
    """`KeyError: 'wheel'`; an exception that cannot be shown is named alone."""
    name, text = type(error).__name__, text_of(error)
    return name if text is None else f"{name}: {text}"


def text_of(error: BaseException) -> str | None:
    """What an exception says, or None where it fails even in that."""
    try:
        return str(error)
    except CAUGHT:
        return None


def failed(what: str, where: str, error: BaseException) -> PgcliError:
    """An exception of an environment, its traceback kept as text.

    Args:
      what: what failed and when, such as `environment 1 failed at its step 4`.
      where: the environment's id and seed.
      error: what it raised; one of ours is returned as it is.
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
    kind = getattr(errors, data["kind"], EnvironmentFailed)
    words = {key: data[key] for key in ("where", "help", "trace")}
    told: PgcliError = kind(data["message"], **words)
    return told
