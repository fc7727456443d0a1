"""Handling of write errors: one warning per kind, and training continues."""

import logging
from collections.abc import Callable
from typing import NamedTuple

LATER = "it is tried again later"

Warn = Callable[[str], None]


class Report(NamedTuple):
    """Receivers of messages to the user."""

    warn: Warn
    note: Warn


def switched_off(name: str, error: BaseException) -> str:
    """The warning about a logger that an exception has ended."""
    reason = (str(error).strip().splitlines() or [""])[0][:200]
    reason = f"{type(error).__name__}: {reason}".rstrip(": ")
    return f"the logger {name} is switched off ({reason}); training continues"


def default_warn(message: str) -> None:
    """Sends a warning to `logging`."""
    logging.getLogger("pgcli").warning(message)


class Guard:
    """Runs actions on files. Of their OSErrors, the first gives a warning.

    `report` gives the number of all. None is raised.
    """

    def __init__(
        self,
        problem: str,
        warn: Warn,
        consequence: str = "training continues without it",
    ) -> None:
        """A guard whose warning is `PROBLEM (REASON); CONSEQUENCE`."""
        self._problem, self._consequence, self._warn = problem, consequence, warn
        self._failures = 0

    def __call__(self, action: Callable[[], object]) -> bool:
        """Runs `action`; returns whether it succeeded."""
        try:
            action()
        except OSError as error:
            self._failures += 1
            if self._failures == 1:
                reason = error.strerror or error
                self._warn(f"{self._problem} ({reason}); {self._consequence}")
            return False
        return True

    def report(self) -> None:
        """Warns with the number of failures, if there were several."""
        if self._failures > 1:
            self._warn(f"{self._problem}: {self._failures} times")
        self._failures = 0
