"""Handling of write errors: one warning per file, and training continues."""

import logging
from collections.abc import Callable

Warn = Callable[[str], None]


def default_warn(message: str) -> None:
    """Sends a warning to `logging`."""
    logging.getLogger("pgcli").warning(message)


class Guard:
    """Runs actions on a file. The first OSError gives a warning; none is raised."""

    def __init__(self, name: str, warn: Warn) -> None:
        """Guards the file `name`; `warn` is called once, with a message."""
        self._name = name
        self._warn = warn
        self._warned = False

    def __call__(self, action: Callable[[], object]) -> None:
        """Runs `action`; an OSError is not raised."""
        try:
            action()
        except OSError as error:
            if not self._warned:
                self._warned = True
                self._warn(
                    f"{self._name} cannot be written ({error.strerror or error}); "
                    "training continues without it"
                )
