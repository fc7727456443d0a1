"""What keeps a refusing disk from stopping training: it is said once."""

import logging
from collections.abc import Callable

Warn = Callable[[str], None]


def default_warn(message: str) -> None:
    """Hands a warning to `logging`, for a caller that gave nothing better."""
    logging.getLogger("pgcli").warning(message)


class Guard:
    """Runs actions on one file; the first OSError is told, none is raised."""

    def __init__(self, name: str, warn: Warn) -> None:
        """Stands for the file `name`; `warn` is told, once, when it fails."""
        self._name = name
        self._warn = warn
        self._warned = False

    def __call__(self, action: Callable[[], object]) -> None:
        """Runs `action`; an OSError ends it without harm."""
        try:
            action()
        except OSError as error:
            if not self._warned:
                self._warned = True
                self._warn(
                    f"{self._name} cannot be written ({error.strerror or error}); "
                    "training goes on without it"
                )
